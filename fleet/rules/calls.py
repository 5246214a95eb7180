"""When a person is called about a rollout, and when again. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.phases import Cause, Phase


class CallKind(StrEnum):
    BLOCKED = "rollback_blocked"
    PAUSED = "paused"  # by a gate
    ROLLED_BACK = "rolled_back"  # by itself
    APPROVAL_WAITS = "approval_waiting"
    APPROVAL_EXPIRES = "approval_expiring"


ASKING = (Phase.AWAITING_APPROVAL, Phase.AWAITING_STEP_APPROVAL)
REPEATED = frozenset({CallKind.BLOCKED, CallKind.PAUSED})  # until somebody has taken it on
EXPIRES_SOON = timedelta(hours=4)
NEWS = timedelta(hours=1)  # what ended longer ago calls nobody


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one rollout, as far as somebody is called about it."""

    phase: Phase
    paused_by: str = ""
    cause: str = ""
    approval: str = ""  # state of its change request; empty: none
    expires_at: datetime | None = None  # of that
    ended_at: datetime | None = None


def calls_for(facts: Facts, now: datetime) -> frozenset[CallKind]:
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
