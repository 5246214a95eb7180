"""Begin and take back one stage of a sequence. The machine does it, for who proposed and approved.

A stage's rollout has the approval of its sequence. The manifests are made again at its turn and
must be, digest for digest, those that were approved.
"""

from django.db import transaction

from fleet.actions.freezing import freeze
from fleet.actions.rollouts import DRIVE as DRIVE_ROLLOUT
from fleet.actions.rollouts import chosen, hold_place, roll_back
from fleet.actions.rollouts import facts as facts_of_rollout
from fleet.actions.rollouts import note as note_rollout
from fleet.actions.sequences import choice_of, digest_of_manifests, note
from fleet.actions.superseding import refuse_second
from fleet.models import Rollout, RolloutSequence, SequenceStage
from fleet.queries.plans import plan_rollout
from fleet.queries.resolutions import refuse_signatures
from fleet.rules.phases import PlanKind
from fleet.rules.proposal import PATIENCE, refuse_plan, refuse_shadows
from tenants.actions.audit import record
from tenants.errors import Conflict
from tenants.nudge import nudge
from tenants.rules.access import Viewer


@transaction.atomic
def begin_stage(viewer: Viewer, sequence: RolloutSequence, number: int) -> Rollout:
    """Open the rollout of a stage, once: a second call answers with the first one's."""
    stage = locked(sequence, number)
    if stage.rollout is not None:
        return stage.rollout
    kind = PlanKind(sequence.plan_kind) if sequence.plan_kind else None
    hold_place(stage.service_id)
    refuse_second(stage.service_id)
    proposal = plan_rollout(viewer, stage.service_id, stage.release_id, **choice_of(sequence))
    if proposal.cluster_id != stage.cluster_id:
        raise Conflict(
            f"What was approved is {proposal.service} in {stage.cluster}, and it is placed in"
            f" {proposal.cluster} now. Place it there again, or propose again"
        )
    if digest_of_manifests(proposal, stage.release) != stage.manifests:
        raise Conflict(
            f"What was approved for {stage.cluster} is not what would be applied now: its namespace"
            " or the service's longest context changed. Change it back, or propose again"
        )
    plan = chosen(proposal, kind)
    refusal = (
        refuse_signatures(stage.release)
        or refuse_plan(plan, consent=False)
        or refuse_shadows(plan.kind, proposal.steps)
    )
    if refusal:
        raise Conflict(refusal, missing_gpus=plan.gpus_missing)
    why = f"Stage {number} of {sequence}" + (f": {sequence.reason}" if sequence.reason else "")
    rollout = freeze(viewer, proposal, plan, patience=PATIENCE, reason=why, limits=sequence.limits)
    asked = {"change_id": sequence.change_id, "requested_by": sequence.requested_by_id}
    Rollout.objects.filter(pk=rollout.pk).update(**asked)
    rollout.refresh_from_db()
    SequenceStage.objects.filter(pk=stage.pk).update(rollout=rollout, back=None)
    record(viewer, "rollout.propose", rollout, after=facts_of_rollout(rollout), why=why)
    note_rollout(rollout, viewer, why)
    note(sequence, f"{rollout} begins", cluster=stage.cluster.slug)
    nudge(DRIVE_ROLLOUT, rollout.pk)
    return rollout


@transaction.atomic
def undo_stage(viewer: Viewer, sequence: RolloutSequence, number: int, *, why: str) -> Rollout:
    """Abort the stage's rollout, or undo it by a new one when it has succeeded."""
    stage = locked(sequence, number)
    if stage.rollout is None:
        raise Conflict(f"Nothing was begun in {stage.cluster}")
    back = roll_back(viewer, stage.rollout.pk, why=why)
    SequenceStage.objects.filter(pk=stage.pk).update(back=back)
    note(sequence, f"{back} takes {stage.release} back", cluster=stage.cluster.slug)
    return back


def locked(sequence: RolloutSequence, number: int) -> SequenceStage:
    rows = SequenceStage.objects.select_for_update(of=("self",), no_key=True)
    related = rows.select_related("cluster", "release__service", "rollout")
    return related.get(sequence=sequence, number=number)
