"""When a proposed change may be decided. The approval binds to a digest of what was shown."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenants.errors import Conflict, ConsoleError, Forbidden, Invalid, Stale

WAITING = "waiting"
LONGEST_WAIT = timedelta(days=30)
# Who opens an account, or makes it an approver's, is nobody's second pair of eyes by it at once.
OWN_HAND = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Open:
    """What a decision looks at."""

    state: str
    digest: str
    requester_id: int
    requester: str
    decided_by: str
    expires_at: datetime
    handed_at: datetime | None = None  # when the requester last gave the decider access


def digest_of(payload: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 of canonical JSON: the same content in any key order is the same."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_decision(
    change: Open, *, decider_id: int | None, digest: str, approve: bool, why: str, now: datetime
) -> ConsoleError | None:
    """Say why this person may not decide this now. The order of the checks is the policy."""
    if change.state != WAITING:
        by = f" by {change.decided_by}" if change.decided_by else ""
        return Conflict(f"This change is not waiting any more: it was {change.state}{by}")
    if now >= change.expires_at:
        return Conflict(f"This change expired at {change.expires_at:%Y-%m-%d %H:%M} UTC")
    if decider_id is None:
        return Forbidden("Only a person can decide: a token of a person, or a session")
    if decider_id == change.requester_id:
        return Forbidden(
            "Somebody else must decide: you asked for this change. You may withdraw it"
        )
    if approve and change.handed_at is not None and now < change.handed_at + OWN_HAND:
        return Forbidden(
            f"{change.requester}, or somebody whom {change.requester} had let in, gave you access"
            " (invited you, let you in again, set your password or made you an approver) at"
            f" {change.handed_at:%Y-%m-%d %H:%M} UTC: you may approve this from"
            f" {change.handed_at + OWN_HAND:%Y-%m-%d %H:%M} UTC on, another approver may now"
        )
    if digest != change.digest:
        return Stale(
            f"What waits is {change.digest[:12]}, what you saw is {digest[:12] or 'nothing'}:"
            " look at it again, then decide"
        )
    if not approve and not why.strip():
        return Invalid(why="Say why you reject it: the requester reads this")
    return None


def handed_at(hands: Iterable[tuple[int | None, str, datetime]], giver: int) -> dict[str, datetime]:
    """When each last got access from `giver`, or from somebody whom the giver had let in before:
    whoever opens an account could act as that person. `hands`: by whom, to whom and when; the
    oldest first.
    """
    reached: dict[str, datetime] = {}
    for by, whom, at in hands:
        if by == giver or str(by) in reached:
            reached[whom] = at
    return reached


def refuse_proposal(*, title: str, expires_in: timedelta) -> ConsoleError | None:
    if not title.strip():
        return Invalid(title="Say in one line what will change")
    if not timedelta(0) < expires_in <= LONGEST_WAIT:
        return Invalid(expires_in=f"Between now and {LONGEST_WAIT.days} days")
    return None
