"""Events that the door put aside: one person asks to take, correct or drop them, another approves.

Nothing of it happens before the approval. What was decided is kept with each event as it came, its
correction and both digests; an event that still cannot be stored goes on waiting, and says why.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, transaction

from billing.actions.ingest import store
from billing.actions.named_events import by_ids
from billing.actions.prefixes import store_reports
from billing.models import (
    QuarantineDecision,
    QuarantineItem,
    UsageEvent,
    UsageQuarantine,
    UsageSeen,
)
from billing.queries.retention import dropped_between
from billing.rules.events import Refused, moment, peek_end, read_event
from billing.rules.prefixes import is_report, read_report
from billing.rules.quarantine import Kind, State, digest_of_items, fault_of_correction, is_whole
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.queries.changes import Decision, decision_of
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer, system_viewer

KIND = "usage_quarantine"  # of changes
MOMENT = timedelta(microseconds=1)
MOST = 1_000  # events of one decision
MOST_NAMED = 100  # in the audit; the decision keeps all
LONGEST_SAID = 500
PAST = {Kind.TAKE: "taken", Kind.CORRECT: "taken", Kind.DROP: "dropped"}


class _OnlyLooked(Exception):  # noqa: N818  # undoes what was done to look
    pass


@transaction.atomic
def ask(
    viewer: Viewer, row_ids: Sequence[int], *, kind: Kind, why: str, now: datetime
) -> QuarantineDecision:
    """Ask another person to take or to drop these events."""
    rows = _lock(viewer, row_ids, why)
    if kind is Kind.TAKE and len(rows) == 1 and (fault := _fault(rows[0], rows[0].payload)):
        raise Conflict(f"It still cannot be taken: {fault}")
    return _ask(viewer, rows, kind=kind, why=why, now=now)


@transaction.atomic
def ask_to_correct(
    viewer: Viewer, row_id: int, *, corrected: str, why: str, now: datetime
) -> QuarantineDecision:
    """Ask another person to store an edited copy instead; the rules of the door hold for it."""
    (row,) = _lock(viewer, [row_id], why)
    if fault := fault_of_correction(row.payload, row.event_id, row.reason, corrected):
        raise Invalid(event=fault)
    if fault := _fault(row, corrected, received_at=row.received_at):
        raise Invalid(event=f"It cannot be taken so: {fault}")
    return _ask(viewer, [row], kind=Kind.CORRECT, why=why, now=now, corrected=corrected)


def apply_decisions(now: datetime) -> int:
    """Do what was approved, let go of what was not. Answers how many decisions ended."""
    ended = 0
    with fleet_scope():
        rows = QuarantineDecision.objects.select_for_update(skip_locked=True, no_key=True)
        waiting = rows.filter(state=State.WAITING.value, change_id__isnull=False)
        for decision in waiting.order_by("id"):
            answer = decision_of(decision.change_id or 0)
            if answer.is_final:
                _settle(decision, answer, now)
                ended += 1
    return ended


def _lock(viewer: Viewer, row_ids: Sequence[int], why: str) -> list[UsageQuarantine]:
    viewer.require(Permission.MANAGE_MONEY)
    if not why.strip():
        raise Invalid(why="Say why: this decides about money")
    if len(row_ids) > MOST:
        raise Invalid(events=f"At most {MOST:,} at once; {len(row_ids):,} were given")
    waiting = UsageQuarantine.objects.select_for_update().filter(pk__in=list(row_ids))
    rows = list(waiting.order_by("pk"))
    if not rows or len(rows) != len(set(row_ids)):
        raise NotFound("This event does not wait any more")
    if asked := [row for row in rows if row.decision_id]:
        raise Conflict(f"Somebody asked already: see decision {asked[0].decision_id}")
    return rows


def _ask(
    viewer: Viewer,
    rows: Sequence[UsageQuarantine],
    *,
    kind: Kind,
    why: str,
    now: datetime,
    corrected: str = "",
) -> QuarantineDecision:
    decision = QuarantineDecision(kind=kind.value, why=why.strip(), asked_by=viewer.email)
    decision.asked_at, decision.events = now, len(rows)
    items = [_item(row, corrected) for row in rows]
    decision.digest = _digest(items)
    decision.save()
    for item in items:
        item.decision = decision
    QuarantineItem.objects.bulk_create(items)
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=decision.pk,
        title=f"quarantine-{decision.pk}: {kind.value} {len(rows)} usage events",
        payload=payload_of(decision, items),
        reason=why,
        permission=Permission.MANAGE_MONEY,
    )
    decision.change_id = change.pk
    decision.save(update_fields=["change_id"])
    UsageQuarantine.objects.filter(pk__in=[row.pk for row in rows]).update(decision_id=decision.pk)
    after = {"events": [i.event_id for i in items[:MOST_NAMED]], "sha256": decision.digest}
    record(viewer, f"usage_quarantine.ask_{kind.value}", decision, after=after, why=why)
    return decision


def _digest(items: Sequence[QuarantineItem]) -> str:
    return digest_of_items((i.source_id, i.event_id, i.payload_sha, i.corrected_sha) for i in items)


def _item(row: UsageQuarantine, corrected: str) -> QuarantineItem:
    same = (
        "tenant_id", "source_id", "event_id", "reason", "detail", "payload", "payload_sha",
        "ended_at", "worker", "received_at",
    )  # fmt: skip
    item = QuarantineItem(quarantine_id=row.pk, **{name: getattr(row, name) for name in same})
    item.payload_sha = bytes(item.payload_sha)
    if corrected:
        item.corrected = corrected
        item.corrected_sha = hashlib.sha256(corrected.encode()).digest()
    return item


def payload_of(decision: QuarantineDecision, items: Sequence[QuarantineItem]) -> dict[str, Any]:
    """What the approval binds to; the digest stands for every event and its correction."""
    slugs = {
        t.id: t.slug for t in tenant_refs({i.tenant_id for i in items if i.tenant_id}).values()
    }
    said: dict[str, Any] = {
        "decision": decision.kind,
        "events": len(items),
        "reasons": dict(sorted(Counter(i.reason for i in items).items())),
        "tenants": dict(sorted(Counter(slugs.get(i.tenant_id or 0, "") for i in items).items())),
        "sha256": decision.digest,
    }
    if len(items) == 1:
        said |= {"event": items[0].payload, "corrected": items[0].corrected}
    return said


def _settle(decision: QuarantineDecision, answer: Decision, now: datetime) -> None:
    viewer = system_viewer("quarantine")
    items = list(decision.items.order_by("id"))
    is_done = answer.is_approved and _digest(items) == answer.payload["sha256"]
    if is_done:
        for item in items:
            _apply(item, Kind(decision.kind))
        QuarantineItem.objects.bulk_update(items, ["outcome", "said"])
        gone = [i.quarantine_id for i in items if i.outcome != "kept"]
        UsageQuarantine.objects.filter(pk__in=gone).delete()
        nudge("billing.tasks.roll_up")
    UsageQuarantine.objects.filter(decision_id=decision.pk).update(decision_id=None)
    decision.state = (State.DONE if is_done else State.REFUSED).value
    decision.decided_by, decision.decided_at = answer.decider, now
    decision.save(update_fields=["state", "decided_by", "decided_at"])
    after = {
        "state": decision.state,
        "outcomes": dict(Counter(i.outcome for i in items)),
        "asked_by": decision.asked_by,
        "decided_by": decision.decided_by,
    }
    record(viewer, f"usage_quarantine.{decision.kind}", decision, after=after, why=decision.why)


def _apply(item: QuarantineItem, kind: Kind) -> None:
    item.outcome = PAST[kind]
    if kind is Kind.DROP:
        return
    try:
        with transaction.atomic():
            if kind is Kind.CORRECT:
                _store(item, item.corrected, item.received_at)
            else:
                _store(item, item.payload, None)
    except Conflict as refusal:
        item.outcome, item.said = "kept", refusal.message
    except (DataError, IntegrityError) as error:  # else no decision after it would be applied
        item.outcome, item.said = "kept", _refused(error)


def _fault(row: UsageQuarantine, text: str, *, received_at: datetime | None = None) -> str:
    """Why it could not be stored now; empty when it could."""
    try:
        with transaction.atomic():
            _store(row, text, received_at)
            raise _OnlyLooked
    except _OnlyLooked:
        return ""
    except Conflict as refusal:
        return refusal.message
    except (DataError, IntegrityError) as error:
        return _refused(error)


def _refused(error: Exception) -> str:
    return f"The database refuses it: {error}"[:LONGEST_SAID]


def _store(row: UsageQuarantine | QuarantineItem, text: str, received_at: datetime | None) -> None:
    """Judge it as of its arrival, or, where that is None, without the rules about its time."""
    raw = _whole(row, text)
    if is_report(raw):
        _store_report(row.source_id, raw, received_at)
        return
    if received_at is None:
        ended = peek_end(raw)
        received_at = moment(ended) if ended is not None else row.received_at
    found = read_event(raw, received_at)
    if isinstance(found, Refused):
        raise Conflict(found.detail)
    if any(dropped_between(at, at + MOMENT) for at in {found.ended, row.ended_at or found.ended}):
        raise Conflict("Requests of its day were dropped, so nothing says whether it is new")
    if _was_forgotten(row.source_id, found.event_id):
        raise Conflict("This event was stored long ago; taken again it would be billed twice")
    receipt = store(row.source_id, [found], now=found.ended)
    if receipt.quarantined:
        raise Conflict(receipt.quarantined[0].detail)


def _whole(row: UsageQuarantine | QuarantineItem, text: str) -> bytes:
    """All of it, by ids."""
    if text == row.payload and not is_whole(text, bytes(row.payload_sha)):
        raise Conflict("It was cut when it was kept: correct it in whole, or have it sent again")
    named = by_ids([text.encode()], row.source_id)
    if named.refused:
        raise Conflict(named.refused[0].detail)
    (raw,) = named.raws
    return raw


def _store_report(source_id: int, raw: bytes, received_at: datetime | None) -> None:
    """Of kept prefixes. Its id is known for good."""
    found = read_report(raw, received_at)
    if isinstance(found, Refused):
        raise Conflict(found.detail)
    _, bad = store_reports(source_id, [found])
    if bad:
        raise Conflict(bad[0].detail)


def _was_forgotten(source_id: int, event_id: str) -> bool:
    """Stored, though its id is unknown: see `seen_retention`. A known one stays known meanwhile.

    It may have been stored with a time of any day, so every part is asked by its index of ids.
    """
    known = UsageSeen.objects.select_for_update().filter(source_id=source_id, event_id=event_id)
    stored = UsageEvent.objects.filter(source_id=source_id, request_id=event_id)
    return not list(known.values_list("event_id")) and stored.exists()
