"""One pass over one rollout: claim, look, decide, act, record.

The row is the truth. Effects come before the record, so each may happen twice: they are full
applies. Whatever kills a worker in between, the next pass looks again and converges.
"""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from django.db.models.functions import Now

from fleet.actions.drills import take_back
from fleet.actions.routing import publish_routing
from fleet.actions.waking import OPEN
from fleet.clients.errors import ClientError, Denied, Temporary
from fleet.clients.workloads import Owned
from fleet.drive.act import act
from fleet.drive.look import View, approval_of, load, look
from fleet.drive.outside import REAL, Outside
from fleet.drive.pods import keep_logs
from fleet.drive.record import record
from fleet.models import Rollout
from fleet.rules.going_back import begin
from fleet.rules.moves import stay
from fleet.rules.phases import GOING_BACK, Cause, Phase
from fleet.rules.rollout import decide, remember
from fleet.rules.state import KEEP, SOON, Decision, Place, Want
from tenants.base.claims import claimed
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)
SHORTLY = timedelta(milliseconds=1)


def due_rollouts() -> list[int]:
    """Those that wait longest first."""
    return Rollout.due(phase__in=OPEN)


def late_rollouts(by: timedelta) -> list[int]:
    """Those that were due so long ago."""
    return Rollout.due(phase__in=OPEN, look_again__lt=Now() - by)


def is_due(rollout_id: int) -> bool:
    rows = Rollout.objects.filter(pk=rollout_id, phase__in=OPEN)
    return rows.filter(look_again__lte=Now()).exists()


def drive(rollout_id: int, outside: Outside = REAL) -> timedelta | None:
    """Make one pass. Answers when to look again; None: final, or somebody else has the row."""
    with claimed(Rollout, rollout_id) as claim:
        return pass_over(rollout_id, claim, outside) if claim else None


def pass_over(rollout_id: int, claim: uuid.UUID, outside: Outside) -> timedelta | None:
    # No transaction is open from here on: the cluster may answer slowly.
    now = outside.clock()
    take_back(rollout_id)
    view = look(load(rollout_id), outside, now)
    decision = decide(view.state, view.seen, now)
    if not still_ours(rollout_id, claim):
        log.info("claim lost, the pass is dropped", rollout=rollout_id)
        return None
    try:
        tell_gateways(view, decision)
        act(view, decision, now)
    except ClientError as error:
        decision = hindered(view, decision, error, now)
    if not record(view, decision, claim, now):
        log.info("claim lost, the record is dropped", rollout=rollout_id)
        return None
    if moves_traffic(view, decision):
        tell_at_once()
    keep_logs(view, decision, now)
    log.info("rollout", rollout=rollout_id, phase=decision.phase, step=decision.step)
    return sooner(view) or decision.look_again


def tell_gateways(view: View, decision: Decision) -> None:
    """Before replicas change, gateways must know the traffic of the passes before.

    The bell for it may have died with its worker. A way back does not wait for a lost Redis.
    """
    if decision.want is None:
        return
    try:
        publish_routing()
    except Unavailable as error:
        if decision.phase not in GOING_BACK and not view.rollout.is_rollback:
            raise Temporary(f"Gateways cannot be told. {error.message}") from error
        log.warning("goes back without telling gateways", error=error.message)


def moves_traffic(view: View, decision: Decision) -> bool:
    want, state = decision.want, view.state
    if want is None:
        return False
    return (want.old.weight, want.new.weight) != (state.weight_old, state.weight_new)


def tell_at_once() -> None:
    """Traffic waits for no other task: there may be none, or many before it."""
    try:
        publish_routing()
    except Unavailable as error:
        log.warning("gateways cannot be told now", error=error.message)


def sooner(view: View) -> timedelta | None:
    """A wish or an approval that came during the pass found the row taken: look again at once."""
    r = view.rollout
    rows = Rollout.objects.filter(pk=r.pk, phase__in=OPEN)
    if approval_of(r) == view.state.approval:
        rows = rows.exclude(wish=r.wish, wish_by=r.wish_by, wish_why=r.wish_why, skip_by=r.skip_by)
    return SHORTLY if rows.update(look_again=Now()) else None


def still_ours(rollout_id: int, claim: uuid.UUID) -> bool:
    """A worker that was frozen must not write to the cluster any more."""
    rows = Rollout.objects.filter(pk=rollout_id, claim=claim, claim_until__gt=Now())
    return rows.exists()


def hindered(view: View, decision: Decision, error: ClientError, now: datetime) -> Decision:
    """The cluster did not do what was decided: wait, go back, or call a person. That it goes back
    or pauses, why, and its traffic need no cluster. What the account may not do is no fault of the
    release: whoever is called gives it the permission.
    """
    state = view.state
    begins = decision.phase is not state.phase and decision.phase in GOING_BACK | {Phase.PAUSED}
    begins = begins and state.phase not in GOING_BACK
    if begins or (decision.phase in GOING_BACK and moves_traffic(view, decision)):
        return traffic_alone(decision, error)
    if isinstance(error, Temporary | Denied):
        # What it noted for another phase would be true there only.
        moves = (decision.phase, decision.step) != (state.phase, state.step)
        memory = remember(state, view.seen, now) if moves else decision.memory
        waits = stay(state, f"Tries again. {error.message}", memory=memory)
        return replace(waits, hindered=not decision.fetch)  # that has a limit of its own
    if state.phase in GOING_BACK:
        blocked = stay(state, f"Blocked, trying on. {error.message}", memory=decision.memory)
        return _in_phase(blocked, Phase.ROLLBACK_BLOCKED)
    cause = Cause.OWNERSHIP if isinstance(error, Owned) else Cause.INVALID
    return begin(state, view.seen, now, cause, error.message)


def traffic_alone(decision: Decision, error: ClientError) -> Decision:
    """Without what the cluster refused: the next pass asks for that again."""
    want = decision.want and Want(
        old=Place(KEEP, decision.want.old.weight), new=Place(KEEP, decision.want.new.weight)
    )
    why = f"{decision.why}. Not all of it is done yet. {error.message}"
    return replace(decision, why=why, want=want, admit=(), look_again=SOON, hindered=True)


def _in_phase(decision: Decision, phase: Phase) -> Decision:
    return Decision(
        phase,
        decision.step,
        decision.why,
        look_again=decision.look_again,
        cause=decision.cause,
        memory=decision.memory,
    )
