"""What stands behind the ids of a line: names, price books, months, invoices."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import BillingPeriod, Invoice, Price, PriceBookVersion
from billing.rules.exchange import Exchange
from billing.rules.focus import Line, SoldAs
from billing.rules.meters import Meter
from tenants.queries.directory import ApplicationRef, TenantRef, application_refs, tenant_refs
from tenants.rules.quotas import Month, month_of

NO_APPLICATION = ApplicationRef(0, 0, "", "", "")  # what the tenant owes as a whole
LineKey = tuple[str, str, Decimal | None, str]  # model, meter, unit price, corrected period


class Names:
    """Reads what it meets once, in the scope that is open."""

    def __init__(self) -> None:
        self._tenants: dict[int, TenantRef] = tenant_refs()
        self._applications: dict[int, ApplicationRef] = application_refs()
        versions = PriceBookVersion.objects.values_list("id", "book__slug", "number")
        self._books = {pk: (slug, number) for pk, slug, number in versions}
        self._months: dict[str, Month] = {}
        self._periods: dict[int, list[tuple[int, Month]]] = {}
        self._invoices: dict[int, tuple[str, dict[LineKey, int]]] = {}
        packages = Price.objects.filter(kind="package")
        self._packages = set(
            packages.values_list("book_version_id", "model", "meter", "traffic_class")
        )

    def line(self, row: tuple[Any, ...]) -> Line:
        hour, tenant_id, application_id, model, traffic_class, meter = row[:6]
        tenant = self._tenants[tenant_id]
        application = self._applications.get(application_id, NO_APPLICATION)
        book, number = self._books[row[10]]
        month = self._month(tenant, hour)
        period = self._period(tenant_id, row[12]) if row[12] else month
        corrected = month.name if period != month else ""
        invoice, detail = self._detail(row[13], (model, meter, row[7], corrected))
        return Line(
            hour=hour,
            tenant=tenant.slug,
            tenant_name=tenant.name,
            application_id=application_id,
            application=application.slug,
            application_name=application.name,
            cost_centre=application.cost_centre,
            model=model,
            traffic_class=traffic_class,
            meter=meter,
            quantity=row[6],
            unit_price=row[7],
            amount=row[8],
            currency=row[9],
            book=book,
            book_version=number,
            run_id=row[11],
            period=period.name,
            period_start=period.starts_at,
            period_end=period.ends_at,
            month_start=month.starts_at,
            month_end=month.ends_at,
            demo=tenant.demo,
            sold_as=self._sold_as(row[10], model, traffic_class, meter),
            corrects=row[14],
            invoice=invoice,
            invoice_line=detail,
            exchange=Exchange(row[9], row[15] or row[9], row[16] or Decimal(1)),
        )

    def _sold_as(self, version_id: int, model: str, traffic_class: str, meter: str) -> SoldAs:
        if meter in (Meter.FEE, Meter.COMMITMENT):
            return SoldAs.MONTH
        names = {(version_id, model, meter, traffic_class), (version_id, model, meter, "")}
        return SoldAs.PACKAGE if names & self._packages else SoldAs.USE

    def _month(self, tenant: TenantRef, hour: datetime) -> Month:
        """The billing period that the hour lies in; before there is one, the tenant's month."""
        for _, month in self._periods_of(tenant.id):
            if month.starts_at <= hour < month.ends_at:
                return month
        known = self._months.get(tenant.time_zone)
        if known is None or not known.starts_at <= hour < known.ends_at:
            known = self._months[tenant.time_zone] = month_of(hour, tenant.time_zone)
        return known

    def _period(self, tenant_id: int, period_id: int) -> Month:
        return next(month for pk, month in self._periods_of(tenant_id) if pk == period_id)

    def _periods_of(self, tenant_id: int) -> list[tuple[int, Month]]:
        """Newest first: most lines are of late months."""
        if tenant_id not in self._periods:
            rows = BillingPeriod.objects.filter(tenant_id=tenant_id).order_by("-starts_at")
            self._periods[tenant_id] = [(p.pk, Month(p.name, p.starts_at, p.ends_at)) for p in rows]
        return self._periods[tenant_id]

    def _detail(self, invoice_id: int | None, key: LineKey) -> tuple[str, str]:
        """The number of the invoice, and of its line: none for what it nets to zero."""
        if invoice_id is None:
            return "", ""
        if invoice_id not in self._invoices:
            row = Invoice.objects.only("number").get(pk=invoice_id)
            lines = row.lines.values_list("model", "meter", "unit_price", "corrects", "position")
            found = {(model, meter, price, of): place for model, meter, price, of, place in lines}
            self._invoices[invoice_id] = (row.number, found)
        number, positions = self._invoices[invoice_id]
        return number, detail_id(number, positions[key]) if key in positions else ""


def detail_id(number: str, position: int) -> str:
    return f"{number}/{position}"
