"""Sheets of node prices: draft one, edit it, let it hold. Four eyes: `sheet_publication`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import F, Max

from billing.models import GpuPrice, GpuPriceSheet
from billing.queries.node_prices import lines_of
from billing.rules.node_lines import faults_of_lines, lines_of_hourly
from billing.rules.node_prices import NodeLine, plain, rate_of
from billing.rules.prices import CURRENCIES, fault_of_start
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound, Stale
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

LOCK = "LOCK TABLE gpu_price_sheet IN SHARE ROW EXCLUSIVE MODE"  # one number, one range at a time
CUT = """
UPDATE gpu_price_sheet SET effective = effective * tstzrange(NULL, %s)
WHERE effective IS NOT NULL AND NOT isempty(effective)
"""


@transaction.atomic
def set_gpu_prices(
    viewer: Viewer,
    *,
    currency: str,
    starts_at: datetime,
    now: datetime,
    hourly: Mapping[str, Decimal] | None = None,
    lines: Sequence[NodeLine] = (),
    why: str = "",
) -> GpuPriceSheet:
    """Say what an hour of a GPU costs us from `starts_at` on. Complete, not a change.

    `hourly`: flat prices by product, for every node; `lines`: what differs by node.
    """
    viewer.require(Permission.MANAGE_MONEY)
    every = [*lines_of_hourly(hourly or {}), *lines]
    check_sheet(currency, every, "lines" if lines else "hourly")
    check_start(starts_at, now=now, why=why)
    sheet = _make(viewer, currency, every, why)
    hold(viewer, sheet, starts_at)
    return sheet


@transaction.atomic
def draft_sheet(
    viewer: Viewer, *, currency: str, lines: Sequence[NodeLine], why: str = ""
) -> GpuPriceSheet:
    """Write down a complete sheet, which holds for nothing until it is published."""
    viewer.require(Permission.MANAGE_MONEY)
    check_sheet(currency, lines, "lines")
    sheet = _make(viewer, currency, lines, why)
    record(viewer, "gpu_price.draft", sheet, after=facts(sheet), why=why)
    return sheet


@transaction.atomic
def edit_sheet(
    viewer: Viewer,
    number: int,
    *,
    currency: str,
    lines: Sequence[NodeLine],
    why: str = "",
    expected: int | None = None,
) -> GpuPriceSheet:
    """Write a draft anew. What waits for approval stays as it is: that was shown."""
    viewer.require(Permission.MANAGE_MONEY)
    sheet = find_draft(number)
    if expected is not None and expected != sheet.version:
        raise Stale(f"Sheet {number} was written again since you read it")
    if sheet.change_id is not None:
        raise Conflict(f"Sheet {number} waits for approval: withdraw the proposal to edit it")
    check_sheet(currency, lines, "lines")
    before = facts(sheet)
    sheet.prices.all().delete()
    _write(sheet, lines)
    sheet.currency, sheet.why, sheet.version = currency, why, sheet.version + 1
    sheet.save(update_fields=["currency", "why", "version"])
    record(viewer, "gpu_price.edit", sheet, before=before, after=facts(sheet), why=why)
    return sheet


def find_draft(number: int) -> GpuPriceSheet:
    sheet = GpuPriceSheet.objects.select_for_update(no_key=True).filter(number=number).first()
    if sheet is None:
        raise NotFound(f"There is no sheet {number} of GPU prices")
    if sheet.effective is not None:
        raise Conflict(f"Sheet {number} was published before; draft a new one to change prices")
    return sheet


def hold(viewer: Viewer, sheet: GpuPriceSheet, starts_at: datetime, *, why: str = "") -> None:
    """In place of every sheet that would hold then; hours that it prices are attributed again."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
        cursor.execute(CUT, [starts_at])
    GpuPriceSheet.objects.filter(pk=sheet.pk).update(
        effective=(starts_at, None), version=F("version") + 1
    )
    sheet.refresh_from_db()
    after = facts(sheet) | {"starts_at": starts_at.isoformat()}
    record(viewer, "gpu_price.set", sheet, after=after, why=why or sheet.why)
    nudge("billing.tasks.allocate")


def check_sheet(currency: str, lines: Sequence[NodeLine], field: str) -> None:
    faults = {}
    if currency not in CURRENCIES:
        faults["currency"] = f"{currency!r} is not a currency of this console"
    if found := faults_of_lines(lines):
        faults[field] = ". ".join(found[:10])
    if faults:
        raise Invalid(**faults)


def check_start(starts_at: datetime, *, now: datetime, why: str) -> None:
    if fault := fault_of_start(starts_at, now=now, why=why):
        raise Invalid(starts_at=fault)


def facts(sheet: GpuPriceSheet) -> dict[str, object]:
    """Each line as people write it, and its hour."""
    lines = {one.line.text: str(one.rate.hourly) for one in lines_of(sheet)}
    return {"number": sheet.number, "currency": sheet.currency, "lines": lines}


def _make(viewer: Viewer, currency: str, lines: Sequence[NodeLine], why: str) -> GpuPriceSheet:
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
    number = GpuPriceSheet.objects.aggregate(n=Max("number"))["n"] or 0
    sheet = GpuPriceSheet.objects.create(
        number=number + 1, currency=currency, why=why, created_by=viewer.email
    )
    _write(sheet, lines)
    return sheet


def _write(sheet: GpuPriceSheet, lines: Sequence[NodeLine]) -> None:
    rates = [(line, rate_of(line)) for line in lines]
    GpuPrice.objects.bulk_create(
        GpuPrice(
            sheet=sheet,
            product=line.product,
            kind=line.kind.value,
            cluster=line.cluster,
            node_pool=line.node_pool,
            capacity=line.capacity,
            hourly=rate.hourly,
            terms={name: plain(value) for name, value in line.terms.items()},
            parts={name: f"{value:f}" for name, value in rate.parts},
        )
        for line, rate in rates
    )
