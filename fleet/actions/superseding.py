"""A newer rollout takes the place of an open one, which is aborted; it begins when that ended."""

from django.db.models.functions import Now

from fleet.actions.waking import OPEN
from fleet.models import Deployment, Rollout, SequenceStage
from fleet.rules.phases import BEFORE_WRITES, GOING_BACK, Phase
from tenants.errors import Conflict
from tenants.nudge import nudge


def refuse_second(service_id: int) -> None:
    other = Rollout.objects.filter(service=service_id, phase__in=OPEN).order_by("waits").first()
    if other:
        raise Conflict(
            f"{other} of this service is open ({other.phase}): abort it or let it end first, or"
            " propose this one so that it supersedes it",
            rollout=other.pk,
        )


def to_supersede(service_id: int, *, consent: bool) -> Rollout | None:
    """The open rollout, locked until the new one is stored. None: the service is free."""
    rows = Rollout.objects.select_for_update(of=("self",), no_key=True).order_by("id")
    related = rows.select_related("service", "from_release", "to_release")
    found = list(related.filter(service=service_id, phase__in=OPEN))
    if not found:
        return None
    if waiting := next((r for r in found if r.waits), None):
        raise Conflict(
            f"{waiting} waits already for {waiting.supersedes} to end: abort it first",
            rollout=waiting.pk,
        )
    refuse_to_supersede(found[0], consent=consent)
    return found[0]


def to_clear_away(service_id: int) -> Rollout | None:
    """A proposal of which nothing has begun: it stands in no way back. Locked until that is stored;
    None: the service is free.
    """
    rows = Rollout.objects.select_for_update(of=("self",), no_key=True)
    found = list(rows.filter(service=service_id, phase__in=OPEN))
    if len(found) != 1 or Phase(found[0].phase) not in BEFORE_WRITES:
        refuse_second(service_id)
        return None
    return found[0]


def refuse_to_supersede(rollout: Rollout, *, consent: bool) -> None:
    phase = Phase(rollout.phase)
    if SequenceStage.objects.filter(rollout=rollout).exists():
        raise Conflict(f"{rollout} is a stage of a sequence: end the sequence first")
    if rollout.is_rollback and phase not in GOING_BACK:
        raise Conflict(
            f"{rollout} goes back to {rollout.to_release}: an abort of it would bring"
            f" {rollout.from_release} again. Let it end first"
        )
    if phase is Phase.ROLLBACK_BLOCKED and not consent:
        row = Deployment.objects.filter(service=rollout.service, release=rollout.to_release).first()
        if row and row.weight:
            raise Conflict(
                f"This needs your consent: {rollout.from_release} did not come back, so"
                f" {rollout.to_release} still gets {row.weight} % of the traffic. It stops before"
                " the proposed one starts"
            )


def make_way(ended: Rollout) -> Rollout | None:
    """Let the one begin that waited for the end of this one, in the transaction that ends it."""
    # Others may have waited before, and been given up.
    waiting = Rollout.objects.filter(supersedes=ended, waits=True, phase__in=OPEN)
    following = waiting.first()
    if following is not None:
        Rollout.objects.filter(pk=following.pk).update(waits=False, look_again=Now())
        nudge("fleet.tasks.drive_rollout", following.pk)
    return following
