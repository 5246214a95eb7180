"""Charges as lines of a file: one line an hour, key and price, differences summed up."""

from collections.abc import Generator
from datetime import datetime
from typing import Any

from django.db import connection

from billing.models import Price, PriceBookVersion
from billing.queries.charged import ChargeFilter
from billing.queries.hours import unrated_hours
from billing.rules.focus import Line, SoldAs
from billing.rules.meters import Meter
from tenants.queries.directory import ApplicationRef, TenantRef, application_refs, tenant_refs
from tenants.rules.quotas import Month, month_of

LINES = """
SELECT hour, tenant_id, application_id, model, traffic_class, meter, sum(quantity), unit_price,
    sum(amount), currency, book_version_id, max(run_id), max(id)
FROM charge WHERE hour >= %(start)s AND hour < %(end)s {where}
GROUP BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, currency,
    book_version_id
HAVING sum(quantity) <> 0
ORDER BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, book_version_id
"""
CHUNK = 2_000
NO_APPLICATION = ApplicationRef(0, 0, "", "", "")  # what the tenant owes as a whole


def read_lines(wanted: ChargeFilter) -> Generator[tuple[Line, int]]:
    """Each line with the id of its newest charge. One statement, so one snapshot."""
    where, given = wanted.conditions()
    names = Names()
    sql = LINES.format(where=where)
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, given | {"start": wanted.start, "end": wanted.end})
        while rows := cursor.fetchmany(CHUNK):
            for row in rows:
                yield names.line(row), row[-1]


def complete_until(wanted: ChargeFilter, now: datetime) -> datetime:
    """Usage that ended before this is charged. Read it before the lines, never after."""
    tenants = [wanted.tenant_id] if wanted.tenant_id else None
    waiting = unrated_hours(wanted.start, wanted.end, tenants)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return min([wanted.end, max(this_hour, wanted.start), *(hour for hour, _ in waiting)])


class Names:
    """Names of tenants, applications and price books, and the months of tenants' zones."""

    def __init__(self) -> None:
        self._tenants: dict[int, TenantRef] = tenant_refs()
        self._applications: dict[int, ApplicationRef] = application_refs()
        versions = PriceBookVersion.objects.values_list("id", "book__slug", "number")
        self._books = {pk: (slug, number) for pk, slug, number in versions}
        self._months: dict[str, Month] = {}
        packages = Price.objects.filter(kind="package")
        self._packages = set(
            packages.values_list("book_version_id", "model", "meter", "traffic_class")
        )

    def line(self, row: tuple[Any, ...]) -> Line:
        hour, tenant_id, application_id, model, traffic_class, meter = row[:6]
        tenant = self._tenants[tenant_id]
        application = self._applications.get(application_id, NO_APPLICATION)
        book, number = self._books[row[10]]
        month = self._month(tenant.time_zone, hour)
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
            period_start=month.starts_at,
            period_end=month.ends_at,
            demo=tenant.demo,
            sold_as=self._sold_as(row[10], model, traffic_class, meter),
        )

    def _sold_as(self, version_id: int, model: str, traffic_class: str, meter: str) -> SoldAs:
        if meter in (Meter.FEE, Meter.COMMITMENT):
            return SoldAs.MONTH
        names = {(version_id, model, meter, traffic_class), (version_id, model, meter, "")}
        return SoldAs.PACKAGE if names & self._packages else SoldAs.USE

    def _month(self, zone: str, hour: datetime) -> Month:
        known = self._months.get(zone)
        if known is None or not known.starts_at <= hour < known.ends_at:
            known = self._months[zone] = month_of(hour, zone)
        return known
