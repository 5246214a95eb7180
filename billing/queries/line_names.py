"""What stands behind the ids of a line: names, price books, months, invoices."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing.models import BillingPeriod, Invoice, InvoiceLine, Price, PriceBookVersion
from billing.queries.charged import ChargeFilter
from billing.rules.exchange import Exchange
from billing.rules.focus import Line, SoldAs
from billing.rules.meters import Meter, names_of
from tenants.queries.directory import ApplicationRef, TenantRef, application_refs, tenant_refs
from tenants.rules.quotas import Month, month_of

NO_APPLICATION = ApplicationRef(0, 0, "", "", "")  # what the tenant owes as a whole
# Model, meter, unit price, corrected period, and what it ran on.
PlaceKey = tuple[str, str, Decimal | None, str, str]


class Key(NamedTuple):
    """What the charges of a line share."""

    tenant_id: int
    application_id: int
    model: str
    traffic_class: str
    meter: str
    unit_price: Decimal
    currency: str
    version_id: int
    period_id: int  # 0: there is none yet
    invoice_id: int  # 0: it is not billed yet
    corrects: bool
    runs_on: str


def key_of(model: str, texts: str) -> Key:
    """As the database writes them."""
    tenant, application, traffic_class, meter, price, currency, *rest = texts.split("/")
    version, period, invoice, corrects, runs_on = rest
    return Key(
        int(tenant), int(application), model, traffic_class, meter, Decimal(price), currency,
        int(version), int(period), int(invoice), corrects == "t", runs_on,
    )  # fmt: skip


class Bill(NamedTuple):
    number: str
    currency: str
    rate: Decimal
    places: dict[PlaceKey, int]


class Names:
    """All that a range of charges can name, in the scope that is open."""

    def __init__(self, wanted: ChargeFilter, *, invoices: int = 0) -> None:
        self._tenants: dict[int, TenantRef] = tenant_refs()
        self._applications: dict[int, ApplicationRef] = application_refs()
        versions = PriceBookVersion.objects.values_list("id", "book__slug", "number")
        self._books = {pk: (slug, number) for pk, slug, number in versions}
        packages = Price.objects.filter(kind="package")
        self._packages = set(
            packages.values_list("book_version_id", "model", "meter", "traffic_class", "runs_on")
        )
        self._months: dict[str, Month] = {}
        self._periods = _periods(wanted)
        self._ranges = {
            (m.starts_at, m.ends_at) for months in self._periods.values() for _, m in months
        }
        self._bills = _bills(wanted, invoices)

    def line(self, key: Key, hour: datetime) -> Line:
        tenant = self._tenants[key.tenant_id]
        application = self._applications.get(key.application_id, NO_APPLICATION)
        book, number = self._books[key.version_id]
        month = self._month(tenant, hour)
        period = self._period(key.tenant_id, key.period_id) if key.period_id else month
        corrected = month.name if period != month else ""
        bill = self._bills[key.invoice_id] if key.invoice_id else None
        of = key.model, key.meter, key.unit_price, corrected, key.runs_on
        place = bill.places.get(of) if bill else None
        exchange = (key.currency, bill.currency, bill.rate) if bill else (key.currency,) * 2
        return Line(
            tenant=tenant.slug,
            tenant_name=tenant.name,
            application_id=key.application_id,
            application=application.slug,
            application_name=application.name,
            cost_centre=application.cost_centre,
            model=key.model,
            traffic_class=key.traffic_class,
            meter=key.meter,
            runs_on=key.runs_on,
            unit_price=key.unit_price,
            currency=key.currency,
            book=book,
            book_version=number,
            period=period.name,
            period_start=period.starts_at,
            period_end=period.ends_at,
            month_start=month.starts_at,
            month_end=month.ends_at,
            demo=tenant.demo,
            sold_as=self._sold_as(key),
            corrects=key.corrects,
            invoice=bill.number if bill else "",
            # What an invoice nets to zero has no line.
            invoice_line=detail_id(bill.number, place) if bill and place is not None else "",
            exchange=Exchange(*exchange),
        )

    def span(self, hour: datetime) -> tuple[object, ...]:
        """Hours of one span lie in the same month, whoever's calendar it is."""
        zones = sorted({tenant.time_zone for tenant in self._tenants.values()})
        of_zones = [month_of(hour, zone).starts_at for zone in zones]
        return (*of_zones, *sorted(r for r in self._ranges if r[0] <= hour < r[1]))

    def _sold_as(self, key: Key) -> SoldAs:
        if key.meter in (Meter.FEE, Meter.COMMITMENT):
            return SoldAs.MONTH
        names = {
            (key.version_id, key.model, key.meter, of_class, place)
            for of_class in (key.traffic_class, "")
            for place in names_of(key.meter, key.runs_on)
        }
        return SoldAs.PACKAGE if names & self._packages else SoldAs.USE

    def _month(self, tenant: TenantRef, hour: datetime) -> Month:
        """The billing period that the hour lies in; before there is one, the tenant's month."""
        for _, month in self._periods.get(tenant.id, ()):
            if month.starts_at <= hour < month.ends_at:
                return month
        known = self._months.get(tenant.time_zone)
        if known is None or not known.starts_at <= hour < known.ends_at:
            known = self._months[tenant.time_zone] = month_of(hour, tenant.time_zone)
        return known

    def _period(self, tenant_id: int, period_id: int) -> Month:
        return next(month for pk, month in self._periods[tenant_id] if pk == period_id)


def _periods(wanted: ChargeFilter) -> dict[int, list[tuple[int, Month]]]:
    """Newest first: most lines are of late months."""
    rows = BillingPeriod.objects.order_by("-starts_at")
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    found: dict[int, list[tuple[int, Month]]] = {}
    fields = ("id", "tenant_id", "name", "starts_at", "ends_at")
    for pk, owner, name, starts_at, ends_at in rows.values_list(*fields):
        found.setdefault(owner, []).append((pk, Month(name, starts_at, ends_at)))
    return found


def _bills(wanted: ChargeFilter, newest: int) -> dict[int, Bill]:
    """Of the periods that touch the range."""
    rows = Invoice.objects.filter(
        pk__lte=newest, period__ends_at__gt=wanted.start, period__starts_at__lt=wanted.end
    )
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    found = {
        pk: Bill(number, currency, rate, {})
        for pk, number, currency, rate in rows.values_list("id", "number", "currency", "rate")
    }
    fields = ("model", "meter", "unit_price", "corrects", "runs_on")
    lines = InvoiceLine.objects.filter(invoice__in=list(found))
    for invoice_id, position, *place in lines.values_list("invoice_id", "position", *fields):
        model, meter, price, of, runs_on = place
        found[invoice_id].places[model, meter, price, of, runs_on] = position
    return found


def detail_id(number: str, position: int) -> str:
    return f"{number}/{position}"
