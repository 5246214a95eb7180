"""From the largest line of a tenant's month down to one request: one row of each step."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, Sum

from billing.models import Charge, Invoice, InvoiceLine, UsageEvent, UsageHour
from billing.queries.charged import ChargeFilter
from billing.queries.cuts import CutLine, line_filter
from billing.queries.retention import what_was_dropped
from billing.queries.visibility import narrowed
from billing.rules.meters import BILLED, BY_REQUEST, SALES, Meter, Usage, quantities
from tenants.rules.access import Viewer

HOUR = timedelta(hours=1)
KEYS = ("tenant_id", "application_id", "model", "traffic_class")


@dataclass(frozen=True, slots=True)
class LineStep:
    """Of an invoice, or the draft of one while the month is not invoiced."""

    name: str
    amount: Decimal
    currency: str  # of the invoice, which may be another one than that of prices
    quantity: Decimal
    invoice: str  # empty: a draft
    position: int
    wanted: ChargeFilter


@dataclass(frozen=True, slots=True)
class ChargeStep:
    hour: datetime
    amount: Decimal
    quantity: Decimal
    unit_price: Decimal
    run_id: int
    wanted: ChargeFilter  # the charge's own row, and its hour's


@dataclass(frozen=True, slots=True)
class HourStep:
    """`quantity` of the charge's meter, of all requests that were paid for."""

    requests: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class RequestStep:
    request_id: UUID
    at: datetime
    quantity: Decimal
    amount: Decimal  # at the charge's unit price: what tiers make of an hour is no request's


@dataclass(frozen=True, slots=True)
class Trail:
    line: LineStep
    charge: ChargeStep
    hour: HourStep
    request: RequestStep | None  # None: its events are not kept any more
    dropped: str = ""  # then: when, by which rule, and the digest


def trail_of(
    viewer: Viewer, wanted: ChargeFilter, lines: tuple[CutLine, ...], invoice: Invoice | None
) -> Trail | None:
    """The newest charge of the largest line that is of requests. None: the month has none.

    `wanted` is a month of one tenant, `invoice` the month's own when it has one.
    """
    wanted = narrowed(viewer, wanted)
    by_request = (x for x in lines if x.amount > 0 and x.model and x.meter in BY_REQUEST)
    line = next(by_request, None)
    if line is None:
        return None
    of = line_filter(wanted, line)
    row = (
        Charge.objects.filter(
            **_of(of, "tenant_id", "model", "meter"), hour__gte=of.start, hour__lt=of.end,
            amount__gt=0,
        )
        .order_by("-hour", "-id")
        .first()
    )  # fmt: skip
    if row is None:
        return None
    hour = replace(
        of, start=row.hour, end=row.hour + HOUR, application_id=row.application_id,
        traffic_class=row.traffic_class,
    )  # fmt: skip
    place = _place(row)
    request = _request(hour, place, row.unit_price)
    of_hour = (viewer, hour.start, hour.end, hour.tenant_id)
    return Trail(
        line=_line(line, of, invoice, row.currency),
        charge=ChargeStep(row.hour, row.amount, row.quantity, row.unit_price, row.run_id, hour),
        hour=_hour(hour, place),
        request=request,
        dropped="" if request else " ".join(map(str, what_was_dropped(*of_hour))),
    )


def _place(row: Charge) -> dict[str, str]:
    """What of its hour a charge is of: the GPUs of the fleet by product, else by who answered."""
    if row.meter == Meter.GPU_SECOND:
        return {"hosted": "", "gpu_product": row.runs_on}
    return {"hosted": row.runs_on}


def _line(line: CutLine, of: ChargeFilter, invoice: Invoice | None, currency: str) -> LineStep:
    name = f"{line.model}, {SALES[Meter(line.meter)].label.lower()}"
    if invoice:
        found = InvoiceLine.objects.filter(
            invoice=invoice, model=line.model, meter=line.meter, charges__gt=0
        ).order_by("-amount")
        if row := found.first():
            quantity = row.quantity or line.quantity
            place = invoice.number, row.position
            return LineStep(row.name, row.amount, invoice.currency, quantity, *place, of)
    return LineStep(name, line.amount, currency, line.quantity, "", 0, of)


def _hour(of: ChargeFilter, place: dict[str, str]) -> HourStep:
    rows = UsageHour.objects.filter(
        **_of(of, *KEYS), **place, hour=of.start, outcome__in=list(BILLED)
    )  # fmt: skip
    names = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ms")
    sums = rows.aggregate(**{f"of_{name}": Sum(name) for name in names})
    counted = [int(sums[f"of_{name}"] or 0) for name in names]
    n, prompt, cached, completion, gpu_ms = counted
    return HourStep(n, _quantity(of, n, prompt, cached, completion, gpu_ms))


def _request(of: ChargeFilter, place: dict[str, str], unit_price: Decimal) -> RequestStep | None:
    rows = UsageEvent.objects.filter(
        **_of(of, *KEYS), **place, event_time__gte=of.start, event_time__lt=of.end,
        outcome__in=list(BILLED),
    )  # fmt: skip
    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "of_gpus")
    rows = rows.annotate(of_gpus=F("gpu_ms") * F("gpus")).order_by("-event_time")
    row = rows.values("request_id", "event_time", *names).first()
    if row is None:
        return None
    quantity = _quantity(of, 1, *(row[name] for name in names))
    return RequestStep(row["request_id"], row["event_time"], quantity, quantity * unit_price)


def _of(of: ChargeFilter, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _quantity(
    of: ChargeFilter, requests: int, prompt: int, cached: int, completion: int, gpu_ms: int
) -> Decimal:
    """Of the filter's meter."""
    outcome = next(iter(sorted(BILLED)))
    counted = (requests, prompt, cached, completion, gpu_ms)
    used = Usage(of.start, 0, 0, of.model, of.traffic_class, outcome, *counted)
    return quantities(used).get(Meter(of.meter), Decimal(0))
