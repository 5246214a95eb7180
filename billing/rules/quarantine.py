"""Decisions about events in quarantine. Pure."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from billing.rules.events import Reason, name_of

Raw = bytes | memoryview


class Kind(StrEnum):
    TAKE = "take"  # as it came; only the rules about its time are waived
    CORRECT = "correct"  # an edited copy, by all rules of the door
    DROP = "drop"  # never charged


class State(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"


def is_whole(payload: str, sha: bytes) -> bool:
    """Whether what was kept is all that was sent."""
    return hashlib.sha256(payload.encode()).digest() == sha


def digest_of_items(items: Iterable[tuple[int, str, Raw, Raw | None]]) -> str:
    """SHA-256 over source, event id, digest as sent and digest as corrected of each, in order."""
    whole = hashlib.sha256()
    for source_id, event_id, sha, corrected in items:
        parts = (bytes(one or b"").hex() for one in (sha, corrected))
        line = (str(source_id), event_id, *parts)
        whole.update("\t".join(line).encode() + b"\n")
    return whole.hexdigest()


def fault_of_correction(payload: str, event_id: str, reason: str, corrected: str) -> str:
    """Why this is no correction of that event; empty when it may be one.

    The id stays: with another one the original, sent again, would be billed beside its copy. Where
    the id itself is what is wrong, or is taken by another content, it may change.
    """
    if not corrected.strip() or corrected == payload:
        return "Nothing was changed: take it as it is, or write the corrected event"
    if reason == Reason.CONFLICT or not _is_uuid(event_id):
        return ""
    if name_of(corrected.encode()).lower() != event_id.lower():
        return f"The id stays {event_id}: with another one the same request could be billed twice"
    return ""


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
