"""What finance systems are told of: the kinds of events, their message, when to try again."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    BUDGET = "budget.threshold_reached"
    COMMITMENT_ENDS = "commitment.ending"
    PERIOD_CLOSED = "period.closed"
    PERIOD_REOPENED = "period.reopened"
    INVOICE = "invoice.issued"
    CREDIT_NOTE = "credit_note.issued"
    PRICES = "price_version.published"
    EXPORT = "export.published"
    EXPORT_FAILED = "export.failed"
    DELIVERED = "export.delivered"
    UNDELIVERED = "export.delivery_failed"
    ROLLBACK_BLOCKED = "rollout.rollback_blocked"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLED_BACK = "rollout.rolled_back"
    APPROVAL_WAITS = "rollout.approval_waiting"
    APPROVAL_EXPIRES = "rollout.approval_expiring"
    STUCK = "rollout.stuck"
    DIFFER = "books.sums_differ"


SAID: dict[Kind, str] = {
    Kind.BUDGET: "a budget reached one of its thresholds",
    Kind.COMMITMENT_ENDS: "the minimum of a contract ends soon",
    Kind.PERIOD_CLOSED: "a month was closed",
    Kind.PERIOD_REOPENED: "a closed month was opened again",
    Kind.INVOICE: "an invoice was issued",
    Kind.CREDIT_NOTE: "a credit note was issued",
    Kind.PRICES: "prices were published",
    Kind.EXPORT: "a file of an export is ready",
    Kind.EXPORT_FAILED: "an export could not be made",
    Kind.DELIVERED: "a file arrived at its receiver",
    Kind.UNDELIVERED: "a file could not be delivered",
    Kind.ROLLBACK_BLOCKED: "the way back of a rollout is blocked; told again while it is",
    Kind.ROLLOUT_PAUSED: "a gate paused a rollout; told again while it is",
    Kind.ROLLED_BACK: "a rollout went back by itself",
    Kind.APPROVAL_WAITS: "a rollout waits for an approval",
    Kind.APPROVAL_EXPIRES: "an approval that a rollout waits for expires soon",
    Kind.STUCK: "a rollout does not get on; told again while it does not",
    Kind.DIFFER: "the check of the books found sums that do not agree",
}
KINDS = tuple(kind.value for kind in Kind)
# What Standard Webhooks proposes: soon at first, then over more than a day.
PAUSES = tuple(
    timedelta(**pause)
    for pause in (
        {"seconds": 5},
        {"minutes": 5},
        {"minutes": 30},
        {"hours": 2},
        {"hours": 5},
        {"hours": 10},
        {"hours": 10},
    )
)

# So long a secret that was renewed signs beside the new one.
OVERLAP = timedelta(days=1)


def next_try(failures: int, now: datetime) -> datetime | None:
    """After so many failures. None: it was tried for the last time."""
    return now + PAUSES[failures - 1] if failures <= len(PAUSES) else None


def message_of(kind: Kind, data: Mapping[str, Any], at: datetime) -> str:
    """The body, the same in every try. Amounts are text: they are exact."""
    document = {"type": kind.value, "timestamp": at.isoformat(), "data": dict(data)}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def key_of(event_id: int, webhook_id: int) -> str:
    """The `webhook-id`: a receiver that got the event already knows it by this."""
    return f"event_{event_id}_{webhook_id}"


def fault_of_kinds(kinds: Sequence[str]) -> str:
    if not kinds:
        return "Choose at least one kind of event"
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        return f"There is no event {unknown[0][:40]!r}; there are {', '.join(KINDS)}"
    return "Name each kind once" if len(set(kinds)) < len(kinds) else ""
