"""Let a sheet of node prices hold by four eyes; the approval binds to its range and every line."""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing.actions.node_prices import check_start, facts, find_draft, hold
from billing.models import GpuPriceSheet
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Stale
from tenants.queries.changes import Decision, decision_of
from tenants.rules.access import Permission, Viewer, system_viewer
from tenants.rules.changes import digest_of

KIND = "gpu_prices"


@transaction.atomic
def propose_sheet(
    viewer: Viewer,
    number: int,
    *,
    starts_at: datetime,
    now: datetime,
    why: str = "",
    expected: int | None = None,
) -> GpuPriceSheet:
    """Ask somebody else to approve that a draft holds from `starts_at` on."""
    viewer.require(Permission.MANAGE_MONEY)
    sheet = find_draft(number)
    if sheet.change_id is not None:
        raise Conflict(f"Sheet {number} waits for approval already")
    if expected is not None and expected != sheet.version:
        raise Stale(f"Sheet {number} was written again since you read it")
    check_start(starts_at, now=now, why=why)
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=sheet.pk,
        title=f"node-prices-{number} hold from {starts_at:%Y-%m-%d %H:%M} UTC",
        payload=payload_of(sheet, starts_at),
        reason=why,
        permission=Permission.MANAGE_MONEY,
    )
    GpuPriceSheet.objects.filter(pk=sheet.pk).update(change_id=change.pk)
    sheet.refresh_from_db()
    after = {"number": number, "starts_at": starts_at, "change": change.pk}
    record(viewer, "gpu_price.propose", sheet, after=after, why=why)
    return sheet


def payload_of(sheet: GpuPriceSheet, starts_at: datetime) -> dict[str, Any]:
    """Everything that the approval binds to."""
    return {"starts_at": starts_at.isoformat(), **facts(sheet)}


def publish_approved(now: datetime) -> int:
    """Let what was approved hold, free what was turned down. Answers how many hold from now on."""
    with fleet_scope():
        waiting = GpuPriceSheet.objects.filter(effective=None, change_id__isnull=False)
        found = [(s.number, decision_of(s.change_id or 0)) for s in waiting.order_by("id")]
        return sum(_settle(number, decision) for number, decision in found if decision.is_final)


@transaction.atomic
def _settle(number: int, decision: Decision) -> int:
    try:
        sheet = find_draft(number)
    except Conflict:  # somebody else settled it meanwhile
        return 0
    starts_at = datetime.fromisoformat(decision.payload["starts_at"])
    same = digest_of(payload_of(sheet, starts_at)) == decision.digest
    if not decision.is_approved or not same:
        GpuPriceSheet.objects.filter(pk=sheet.pk).update(change_id=None)
        return 0
    machine = system_viewer("prices", [Permission.MANAGE_MONEY])
    why = f"{decision.requester}, approved by {decision.decider}: {decision.reason}"
    hold(machine, sheet, starts_at, why=why)
    return 1
