"""Requests: the explorer, and one request with everything that is known of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from billing.models import UsageEvent, UsageHour
from billing.queries.books import read_tariffs
from billing.queries.charged import ChargeFilter
from billing.queries.retention import what_was_dropped
from billing.queries.visibility import visible_tenants
from billing.rules.events import hour_of
from billing.rules.meters import BILLED, SALES, Meter, Usage
from billing.rules.rating import rate
from billing.rules.request_ids import likely_span
from gateway.contract.outcomes import Outcome
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import TenantRef, application_refs, tenant_refs
from tenants.rules.access import Permission, Viewer

R = TypeVar("R", bound=Model)
OUTCOMES = tuple(o.value for o in Outcome)


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which requests or hours. Empty means any; `outcome` "trouble" is all but served."""

    start: datetime
    end: datetime
    tenant_id: int | None = None
    application_id: int | None = None
    model: str = ""
    service_id: int | None = None
    release: str = ""
    traffic_class: str = ""
    outcome: str = ""
    reason: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One line of the explorer. Times in milliseconds."""

    id: int
    request_id: UUID
    at: datetime
    tenant_id: int
    tenant: str
    application_id: int
    application: str
    model: str
    service_id: int | None
    release: str
    traffic_class: str
    outcome: str
    reason: str
    http_status: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queue_ms: float | None
    ttft_ms: float | None
    itl_ms: float | None
    total_ms: float
    demo: bool


@dataclass(frozen=True, slots=True)
class RequestPage:
    rows: list[RequestRow]
    older: str  # cursor of the next page, empty at the end


@dataclass(frozen=True, slots=True)
class MeterLine:
    """One meter of a request at the price of its hour; None: no price, or not paid for."""

    meter: str
    label: str
    unit: str
    quantity: Decimal
    unit_price: Decimal | None
    amount: Decimal | None
    book_version_id: int | None


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """One request: who, what became of it, how long each part took, what it costs."""

    row: RequestRow
    event: dict[str, Any]  # every stored column by name, as evidence
    currency: str
    is_billed: bool
    lines: tuple[MeterLine, ...]
    amount: Decimal
    hour: datetime
    charges: ChargeFilter  # leads to the charges that it is part of
    siblings: UsageFilter  # the requests of the same hour, tenant and model


def list_requests(viewer: Viewer, wanted: UsageFilter) -> QuerySet[UsageEvent]:
    """Newest first. Page by (event_time, id): counting millions of rows takes too long."""
    tenants = visible_tenants(viewer, wanted.tenant_id, Permission.VIEW)
    rows = UsageEvent.objects.filter(event_time__gte=wanted.start, event_time__lt=wanted.end)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    for name in ("application_id", "model", "service_id", "release", "reason"):
        if getattr(wanted, name):
            rows = rows.filter(**{name: getattr(wanted, name)})
    if wanted.traffic_class:
        rows = rows.filter(traffic_class=wanted.traffic_class)
    if wanted.request_id:
        rows = rows.filter(request_id=parse_id(wanted.request_id))
    return _by_outcome(rows, wanted.outcome).order_by("-event_time", "-id")


def request_page(
    viewer: Viewer, wanted: UsageFilter, *, cursor: str = "", limit: int = 50
) -> RequestPage:
    """A page of the explorer, older than `cursor`."""
    rows = list_requests(viewer, wanted)
    if cursor:
        at, pk = parse_cursor(cursor)
        rows = rows.filter(Q(event_time__lt=at) | Q(event_time=at, id__lt=pk))
    found = list(rows[: limit + 1])
    names = Names()
    last = found[limit - 1] if len(found) > limit else None
    older = f"{last.event_time.isoformat()}~{last.pk}" if last else ""
    return RequestPage([names.row(event) for event in found[:limit]], older)


def get_request(viewer: Viewer, request_id: str) -> RequestDetail:
    """One request by its id. Prices are those of its hour; the charge sums its whole hour."""
    visible_tenants(viewer, None, Permission.VIEW)
    event = find_event(parse_id(request_id))
    if event is None or not viewer.may(Permission.VIEW, event.tenant_id):
        raise NotFound(_not_there(viewer, parse_id(request_id)))
    tenant = tenant_refs([event.tenant_id])[event.tenant_id]
    hour = hour_of(event.event_time)
    span = (hour, hour + timedelta(hours=1))
    lines = meter_lines(event, tenant)
    return RequestDetail(
        row=Names().row(event),
        event={f.attname: getattr(event, f.attname) for f in UsageEvent._meta.concrete_fields},
        currency=tenant.currency,
        is_billed=event.outcome in BILLED,
        lines=lines,
        amount=sum((line.amount for line in lines if line.amount is not None), Decimal(0)),
        hour=hour,
        charges=ChargeFilter(
            *span,
            tenant_id=event.tenant_id,
            application_id=event.application_id,
            model=event.model,
            traffic_class=event.traffic_class,
        ),
        siblings=UsageFilter(*span, tenant_id=event.tenant_id, model=event.model),
    )


def find_event(request_id: UUID) -> UsageEvent | None:
    """In the open scope. First about when its id was given, then in the parts of all days."""
    found = UsageEvent.objects.filter(request_id=request_id).order_by("id")
    if span := likely_span(request_id):
        near = found.filter(event_time__gte=span[0], event_time__lt=span[1]).first()
        if near is not None:
            return near
    return found.first()


def _not_there(viewer: Viewer, request_id: UUID) -> str:
    """Says the same of each id of a time, whoever's it is."""
    span = likely_span(request_id)
    gone = what_was_dropped(viewer, *span) if span else []
    said = "There is no such request, or it is not yours to see"
    return said + "".join(f". {one}" for one in gone)


def meter_lines(event: UsageEvent, tenant: TenantRef) -> tuple[MeterLine, ...]:
    """What the request costs by itself: where prices depend on the month, as its first."""
    usage = Usage(
        hour=hour_of(event.event_time),
        tenant_id=event.tenant_id,
        application_id=event.application_id,
        model=event.model,
        traffic_class=event.traffic_class,
        outcome=event.outcome,
        requests=1,
        prompt_tokens=event.prompt_tokens,
        cached_tokens=event.cached_tokens,
        completion_tokens=event.completion_tokens,
        gpu_ms=event.gpu_ms * event.gpus,
        hosted=event.hosted,
        gpu_product=event.gpu_product,
    )
    rated = rate([usage], read_tariffs([tenant]))
    priced = [
        MeterLine(
            key.meter,
            SALES[Meter(key.meter)].label,
            SALES[Meter(key.meter)].unit,
            quantity,
            tag.unit_price,
            quantity * tag.unit_price,
            tag.book_version_id,
        )
        for (key, tag), quantity in rated.owed.items()
    ]
    unpriced = [
        MeterLine(k.meter, SALES[Meter(k.meter)].label, SALES[Meter(k.meter)].unit, q, *[None] * 3)
        for k, q in rated.unpriced.items()
    ]
    order = list(Meter)
    return tuple(sorted([*priced, *unpriced], key=lambda line: order.index(Meter(line.meter))))


def list_hours(viewer: Viewer, wanted: UsageFilter) -> QuerySet[UsageHour]:
    """Sums by hour, newest first: between a charge and its requests."""
    tenants = visible_tenants(viewer, wanted.tenant_id)
    rows = UsageHour.objects.filter(hour__gte=wanted.start, hour__lt=wanted.end)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    for name in ("application_id", "model", "service_id", "release", "traffic_class"):
        if getattr(wanted, name):
            rows = rows.filter(**{name: getattr(wanted, name)})
    return _by_outcome(rows, wanted.outcome).order_by("-hour", "-id")


def parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such request: a request id is a UUID") from error


def parse_cursor(text: str) -> tuple[datetime, int]:
    at, _, pk = text.partition("~")
    try:
        moment, number = datetime.fromisoformat(at), int(pk)
    except ValueError as error:
        raise Invalid(cursor="This is no cursor of this list") from error
    if moment.tzinfo is None or not 0 <= number < 2**63:
        raise Invalid(cursor="This is no cursor of this list")
    return moment, number


class Names:
    """Slugs of tenants and applications, read once for a page."""

    def __init__(self) -> None:
        self._tenants = {t.id: t.slug for t in tenant_refs().values()}
        self._applications = {a.id: a.slug for a in application_refs().values()}

    def row(self, e: UsageEvent) -> RequestRow:
        return RequestRow(
            id=e.pk,
            request_id=e.request_id,
            at=e.event_time,
            tenant_id=e.tenant_id,
            tenant=self._tenants.get(e.tenant_id, str(e.tenant_id)),
            application_id=e.application_id,
            application=self._applications.get(e.application_id, str(e.application_id)),
            model=e.model,
            service_id=e.service_id,
            release=e.release,
            traffic_class=e.traffic_class,
            outcome=e.outcome,
            reason=e.reason,
            http_status=e.http_status,
            prompt_tokens=e.prompt_tokens,
            cached_tokens=e.cached_tokens,
            completion_tokens=e.completion_tokens,
            queue_ms=e.queue_ms,
            ttft_ms=e.ttft_ms,
            itl_ms=e.itl_ms,
            total_ms=(e.event_time - e.started_at) / timedelta(milliseconds=1),
            demo=e.demo,
        )


def _by_outcome(rows: QuerySet[R], outcome: str) -> QuerySet[R]:
    if not outcome:
        return rows
    if outcome == "trouble":
        return rows.filter(~Q(outcome="served"))
    if outcome not in OUTCOMES:
        raise Invalid(outcome=f"There is no outcome {outcome!r}; there are {', '.join(OUTCOMES)}")
    return rows.filter(outcome=outcome)
