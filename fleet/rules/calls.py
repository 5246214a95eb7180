"""When a person is called about a rollout, and when again. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.phases import FINAL, GOING_BACK, Cause, Phase


class CallKind(StrEnum):
    BLOCKED = "rollback_blocked"
    PAUSED = "paused"  # by a gate
    ROLLED_BACK = "rolled_back"  # by itself
    APPROVAL_WAITS = "approval_waiting"
    APPROVAL_EXPIRES = "approval_expiring"
    STUCK = "stuck"  # it does not get on: its passes fail, or it is refused what it asks for


ASKING = (Phase.AWAITING_APPROVAL, Phase.AWAITING_STEP_APPROVAL)
# Until somebody has taken it on.
REPEATED = frozenset({CallKind.BLOCKED, CallKind.PAUSED, CallKind.STUCK})
EXPIRES_SOON = timedelta(hours=4)
NEWS = timedelta(hours=1)  # what ended longer ago calls nobody
FAILING = 3  # passes in a row that raised: no restart and no lost connection
REFUSED = timedelta(minutes=15)  # another rollout may be about to end
REFUSED_BACK = timedelta(minutes=1)
HINDERED = timedelta(minutes=5)  # a cluster that is upgraded is back by then


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one rollout, as far as somebody is called about it."""

    phase: Phase
    paused_by: str = ""
    cause: str = ""
    approval: str = ""  # state of its change request; empty: none
    expires_at: datetime | None = None  # of that
    ended_at: datetime | None = None
    failures: int = 0  # passes that raised, in a row
    hindered: datetime | None = None  # since when passes cannot do what they decide


def calls_for(facts: Facts, now: datetime) -> frozenset[CallKind]:
    return frozenset({*calls_of_phase(facts, now), *calls_of_passes(facts, now)})


def calls_of_passes(facts: Facts, now: datetime) -> frozenset[CallKind]:
    """It is open and does not get on, whatever it waits for besides."""
    if facts.phase in FINAL:
        return frozenset()
    found = {CallKind.STUCK} if facts.failures >= FAILING else set()
    back = facts.phase in GOING_BACK
    if facts.hindered and now - facts.hindered >= (REFUSED_BACK if back else HINDERED):
        found.add(CallKind.BLOCKED if back else CallKind.STUCK)
    return frozenset(found)


def calls_of_phase(facts: Facts, now: datetime) -> frozenset[CallKind]:
    if facts.phase is Phase.ROLLBACK_BLOCKED:
        return frozenset({CallKind.BLOCKED})
    if facts.phase is Phase.PAUSED and facts.paused_by in ("gate", "approval"):
        return frozenset({CallKind.PAUSED})
    if facts.phase is Phase.ROLLED_BACK and facts.cause not in ("", Cause.OPERATOR):
        is_news = facts.ended_at is not None and now - facts.ended_at < NEWS
        return frozenset({CallKind.ROLLED_BACK}) if is_news else frozenset()
    if facts.phase in ASKING and facts.approval == "waiting":
        soon = facts.expires_at is not None and facts.expires_at - now <= EXPIRES_SOON
        return frozenset({CallKind.APPROVAL_WAITS, *([CallKind.APPROVAL_EXPIRES] if soon else [])})
    return frozenset()


def is_due(
    kind: CallKind,
    called_at: datetime | None,
    *,
    acknowledged: bool,
    now: datetime,
    again: timedelta,
) -> bool:
    """The first time at once; what stays blocked again and again, unless somebody is on it."""
    if called_at is None:
        return True
    return kind in REPEATED and not acknowledged and now - called_at >= again


@dataclass(frozen=True, slots=True)
class Stuck:
    """A sequence that does not get on. `since`: when it was refused first what it asks for."""

    kind: CallKind
    since: datetime
    failing: bool = False


def stuck(facts: Stuck, now: datetime) -> Stuck | None:
    """None: it may get on by itself yet."""
    patience = REFUSED_BACK if facts.kind is CallKind.BLOCKED else REFUSED
    return facts if facts.failing or now - facts.since >= patience else None


def is_stuck_due(
    found: Stuck, called_at: datetime | None, *, now: datetime, again: timedelta
) -> bool:
    """A beginning that waits is told once: it may wait long for GPUs, and nobody is worse off."""
    if called_at is None or (called_at < found.since and not found.failing):
        return True
    repeats = found.failing or found.kind is CallKind.BLOCKED
    return repeats and now - called_at >= again


def failed_words(failures: int, failure: str, why: str) -> str:
    """Of a row whose passes raise, from the traceback that is kept with it."""
    lines = failure.strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return f"{failures} passes in a row failed{said}. Before that: {why}"
