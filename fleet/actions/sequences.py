"""Propose sequences of rollouts through the clusters of a service, and write what people wish."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from fleet.actions.freezing import manifests_of
from fleet.actions.gate_limits import checked
from fleet.actions.releases import release_with
from fleet.actions.rollouts import chosen
from fleet.actions.wishes import Kind, wish
from fleet.models import Release, RolloutSequence, SequenceEvent, SequenceStage, Service
from fleet.queries.placements import head_of, members_of
from fleet.queries.plans import Proposal, plan_rollout
from fleet.queries.releases import fetch_release, spec_of
from fleet.queries.sequences import KIND, may_be_left_out
from fleet.rules.answers import Answer
from fleet.rules.begins_within import BeginsWithin, refuse_begins
from fleet.rules.gate_limits import chosen_words
from fleet.rules.phases import PlanKind
from fleet.rules.release import digest_json
from fleet.rules.sequence import FINAL, Phase, StageState, Wish
from fleet.rules.situation import StepPlan
from fleet.rules.weights import cache_for
from fleet.rules.wishes import SEQUENCES
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

DRIVE = "fleet.tasks.drive_sequence"
LONGEST_BAKE = 14 * 86_400


@transaction.atomic
def propose_sequence(
    viewer: Viewer,
    release_id: int,
    *,
    bake_seconds: int,
    order: Sequence[str] = (),
    kind: PlanKind | None = None,
    steps: Sequence[StepPlan] | None = None,
    soak_seconds: int | None = None,
    limits: Mapping[str, float | None] | None = None,
    begins_from: Mapping[str, datetime] | None = None,
    reason: str = "",
) -> RolloutSequence:
    """Freeze a release for every cluster of its service, and ask for one approval of all of it.

    `order`: names of the services, each once. Empty: the placements first, home at last. `limits`:
    those of the gates in every cluster that are not as usual. `begins_from`: by service, the time
    before which its cluster does not begin, even when its turn has come.
    """
    viewer.require(Permission.PROPOSE)
    release = fetch_release(viewer, release_id)
    home = Service.objects.select_related("cluster", "current_release").get(pk=release.service_id)
    members = ordered(home, order)
    if not 0 <= bake_seconds <= LONGEST_BAKE:
        raise Invalid(bake_seconds=f"Give seconds from 0 to {LONGEST_BAKE:,} (two weeks)")
    times = begins_from or {}
    refuse_times(times, members)
    refuse_second(home)
    sequence = store(viewer, home, release, reason, bake_seconds)
    sequence.plan_kind = kind.value if kind else ""
    sequence.steps = None if steps is None else [asdict(step) for step in steps]
    sequence.soak_seconds = soak_seconds
    sequence.limits = checked(limits or {})
    stages = [add_stage(viewer, sequence, n, m, times) for n, m in enumerate(members, 1)]
    if all(stage["digest"] == "" for stage in stages):
        raise Conflict(f"{release} serves in every cluster of {home} already")
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=sequence.pk,
        title=f"{home}: {release} through {len(stages)} clusters",
        payload=payload_of(sequence, stages),
        reason=reason,
    )
    sequence.change_id = change.pk
    sequence.save()
    record(viewer, "sequence.propose", sequence, after=facts(sequence), why=reason)
    note(sequence, f"Proposed: {reason}" if reason else "Proposed", actor=viewer.email)
    nudge(DRIVE, sequence.pk)
    return sequence


def ordered(home: Service, order: Sequence[str]) -> list[Service]:
    if head_of(home) != home:
        raise Conflict(f"{home} is a placement of {head_of(home)}: propose a release of that one")
    first, *others = members_of(home)
    if not others:
        raise Conflict(f"{home} is in one cluster only: plan a rollout instead")
    if not order:
        return [*others, first]
    known = {member.name: member for member in (first, *others)}
    if sorted(order) != sorted(known):
        raise Invalid(order=f"Name each of {', '.join(known)} once")
    return [known[name] for name in order]


def refuse_times(times: Mapping[str, datetime], members: Sequence[Service]) -> None:
    names = [member.name for member in members]
    now = timezone.now()
    for name, at in times.items():
        if name not in names:
            raise Invalid(begins_from=f"{name!r} is none of {', '.join(names)}")
        if wrong := refuse_begins(BeginsWithin(at), now):
            raise Invalid(begins_from=f"{name}: {wrong['begins_from']}")


def refuse_second(home: Service) -> None:
    ended = [phase.value for phase in FINAL]
    other = RolloutSequence.objects.filter(service=home).exclude(phase__in=ended).first()
    if other:
        raise Conflict(
            f"{other} of this service is open ({other.phase}): end it or let it end first",
            sequence=other.pk,
        )


def store(
    viewer: Viewer, home: Service, release: Release, reason: str, bake_seconds: int
) -> RolloutSequence:
    sequence = RolloutSequence(
        service=home,
        release=release,
        bake_seconds=bake_seconds,
        reason=reason.strip(),
        requested_by_id=viewer.user_id,
        phase=Phase.AWAITING_APPROVAL.value,
        phase_since=Now(),
        look_again=Now(),
        why="Proposed",
    )
    try:
        with transaction.atomic():
            sequence.save()
    except IntegrityError as error:
        raise Conflict("Somebody proposed a sequence of this service meanwhile") from error
    sequence.refresh_from_db()
    return sequence


def add_stage(
    viewer: Viewer,
    sequence: RolloutSequence,
    number: int,
    member: Service,
    times: Mapping[str, datetime],
) -> dict[str, Any]:
    """Store a stage; answers what the approver reads of it."""
    assert member.cluster is not None
    release = mirrored(viewer, sequence.release, member)
    serves = member.current_release_id == release.pk
    planned = {} if serves else planned_for(viewer, sequence, member, release)
    digest = planned.get("digest", "")
    begins = BeginsWithin(times.get(member.name))
    SequenceStage.objects.create(
        sequence=sequence,
        number=number,
        service=member,
        cluster=member.cluster,
        release=release,
        manifests=digest,
        begins_from=begins.opens,
        state=(StageState.DONE if serves else StageState.PENDING).value,
        since=Now(),
        why=f"{release} serves there already" if serves else "Its turn comes",
    )
    return {
        "number": number,
        "service": member.name,
        "cluster": member.cluster.slug,
        "region": member.cluster.region,
        "to": str(release),
        **({"begins": begins.words} if begins else {}),
        **({"from": str(release)} if serves else planned),
        "digest": digest,
    }


def planned_for(
    viewer: Viewer, sequence: RolloutSequence, member: Service, release: Release
) -> dict[str, Any]:
    """As it looks now: the plan is made anew at the turn, the manifests must be the same then."""
    proposal = plan_rollout(viewer, member.pk, release.pk, **choice_of(sequence))
    plan = chosen(proposal, PlanKind(sequence.plan_kind) if sequence.plan_kind else None)
    if plan.answer is Answer.NEVER:
        raise Conflict(f"It never fits into {proposal.cluster}: {plan.why}")
    return {
        "from": proposal.from_label,
        "plan_now": f"{plan.kind.value}: {plan.why}",
        "replicas": proposal.replicas,
        "digest": digest_of_manifests(proposal, release),
    }


def choice_of(sequence: RolloutSequence) -> dict[str, Any]:
    steps = None if sequence.steps is None else tuple(StepPlan(**s) for s in sequence.steps)
    return {"steps": steps, "soak_seconds": sequence.soak_seconds}


def digest_of_manifests(proposal: Proposal, release: Release) -> str:
    return digest_json(manifests_of(proposal, release))


def mirrored(viewer: Viewer, release: Release, member: Service) -> Release:
    """The release of the same content in another service, made where there is none yet."""
    if release.service_id == member.pk:
        return release
    spec = spec_of(release)
    cache = cache_for(spec.model, member.cluster.weights_cache if member.cluster else "")
    own = replace(spec, service=member.name, pins=replace(spec.pins, weights=cache))
    try:
        return release_with(viewer, member, own, release, f"As {release} of {release.service}")
    except Invalid as error:
        sentences = ". ".join(error.fields.values())
        raise Conflict(f"{release} cannot be made for {member}: {sentences}") from error


def payload_of(sequence: RolloutSequence, stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the approver decides about: the manifests of every cluster stand in it by digest."""
    return {
        "sequence": sequence.pk,
        "service": sequence.service.name,
        "to": str(sequence.release),
        "bake_seconds": sequence.bake_seconds,
        "plan": sequence.plan_kind or "the best one of each cluster at its turn",
        "steps": sequence.steps,
        "soak_seconds": sequence.soak_seconds,
        "gate_limits": chosen_words(sequence.limits),
        "stages": list(stages),
        "manifests": {stage["service"]: stage["digest"] for stage in stages},
    }


def pause_sequence(viewer: Viewer, sequence_id: int, *, why: str = "") -> RolloutSequence:
    """Nothing else begins; the rollout that is open goes on, and has a pause of its own."""
    return wish(MOVES, viewer, sequence_id, Wish.PAUSE, why)


def resume_sequence(viewer: Viewer, sequence_id: int, *, why: str = "") -> RolloutSequence:
    """Go on; a stage that failed is tried again."""
    return wish(MOVES, viewer, sequence_id, Wish.RUN, why)


def end_sequence(viewer: Viewer, sequence_id: int, *, why: str = "") -> RolloutSequence:
    """Begin nothing else and leave everything as it is."""
    return wish(MOVES, viewer, sequence_id, Wish.END, why)


def roll_back_sequence(viewer: Viewer, sequence_id: int, *, why: str = "") -> RolloutSequence:
    """Take the release back in every cluster that it reached, in all of them at once."""
    return wish(MOVES, viewer, sequence_id, Wish.ROLL_BACK, why)


@transaction.atomic
def leave_out(viewer: Viewer, sequence_id: int, number: int, *, why: str) -> RolloutSequence:
    """Go on without one cluster: it keeps what serves there."""
    viewer.require(Permission.PROPOSE)
    sequence = fetch(sequence_id, lock=True)
    if Phase(sequence.phase) in FINAL:
        raise Conflict(f"{sequence} has ended as {sequence.phase}")
    stage = sequence.stages.select_related("cluster").filter(number=number).first()
    if stage is None:
        raise NotFound(f"{sequence} has no stage {number}")
    if not may_be_left_out(stage):
        raise Conflict(
            f"Stage {number} ({stage.cluster}) is {stage.state}: abort or pause its rollout instead"
        )
    if not why.strip():
        raise Invalid(why="Say why it is left out: it is kept with the sequence")
    rows = SequenceStage.objects.filter(pk=stage.pk)
    rows.update(left_out_by=viewer.email, left_out_why=why.strip())
    RolloutSequence.objects.filter(pk=sequence_id).update(look_again=Now())
    record(viewer, "sequence.leave_out", sequence, after={"cluster": stage.cluster.slug}, why=why)
    told = f"Left out: {why.strip()}"
    note(sequence, told, actor=viewer.email, cluster=stage.cluster.slug)
    nudge(DRIVE, sequence.pk)
    return sequence


def wake_by_change(change_id: int) -> int | None:
    """Make the sequence due that waits for this change."""
    rows = RolloutSequence.objects.filter(change_id=change_id)
    rows.exclude(phase__in=[p.value for p in FINAL]).update(look_again=Now())
    return rows.values_list("id", flat=True).first()


def fetch(sequence_id: int, *, lock: bool = False) -> RolloutSequence:
    rows = RolloutSequence.objects.select_related("service", "release")
    rows = rows.select_for_update(of=("self",), no_key=True) if lock else rows
    sequence = rows.filter(pk=sequence_id).first()
    if sequence is None:
        raise NotFound("There is no such sequence of rollouts")
    return sequence


def facts(sequence: RolloutSequence) -> dict[str, Any]:
    """What the audit keeps."""
    return {
        "service": str(sequence.service),
        "to": str(sequence.release),
        "bake_seconds": sequence.bake_seconds,
        "begins_from": {
            stage.service.name: stage.begins_from.isoformat()
            for stage in sequence.stages.select_related("service")
            if stage.begins_from
        },
        "phase": sequence.phase,
        "wish": sequence.wish,
    }


def note(sequence: RolloutSequence, why: str, *, actor: str = "", cluster: str = "") -> None:
    SequenceEvent.objects.create(
        sequence=sequence, cluster=cluster, state=sequence.phase, actor=actor, why=why
    )


MOVES: Kind[RolloutSequence] = Kind(
    noun="sequence",
    drive=DRIVE,
    manner=SEQUENCES,
    lock=lambda pk: fetch(pk, lock=True),
    facts=facts,
    note=lambda sequence, viewer, why: note(sequence, why, actor=viewer.email),
)
