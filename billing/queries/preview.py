"""What a version would have made of the last month: old and new amount of every tenant.

A month of a fleet takes many seconds to price twice, so a preview is worked out in parts by
`billing.drive.previews`; pages and the API show how far it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from django.db import connection

from billing.models import PriceBook, PriceBookVersion, PricePreview
from billing.queries.books import lines_of, read_tariffs, terms_of
from billing.queries.hours import OF_USE
from billing.queries.months import period_of
from billing.rules.calendars import Calendar
from billing.rules.meters import Usage
from billing.rules.prices.terms import Kind
from billing.rules.rating import Period, Rated, rate, with_fees
from billing.rules.tariffs import BookVersion, Tariff, version_of
from tenants.errors import NotFound
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer
from tenants.rules.changes import digest_of
from tenants.rules.quotas import month_of

ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
OF_MONTH = "WHERE tenant_id = ANY(%s) AND hour >= %s AND hour < %s"
USAGE = (
    OF_USE.format(
        from_hours=f"FROM usage_hour {OF_MONTH}", from_prefixes=f"FROM prefix_hour {OF_MONTH}"
    )
    + "ORDER BY tenant_id, 1, 3, 4, 5, 6, 12, 13"
)


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """A tenant's last month, at the prices that held and as if the version had held all of it."""

    tenant_id: int
    tenant: str
    old: Decimal
    new: Decimal
    unpriced_before: int  # rows of usage without a price
    unpriced: int

    @property
    def difference(self) -> Decimal:
        return self.new - self.old

    @property
    def is_empty(self) -> bool:
        return not (self.old or self.new or self.unpriced or self.unpriced_before)


@dataclass(frozen=True, slots=True)
class Preview:
    month: str
    currency: str
    state: str  # waiting, done
    tenants: int
    tenants_done: int
    is_current: bool  # of the prices as they are now, on the month that is the last one now
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    lines: tuple[PreviewLine, ...]  # the largest change first

    @property
    def old(self) -> Decimal:
        return sum((line.old for line in self.lines), Decimal(0))

    @property
    def new(self) -> Decimal:
        return sum((line.new for line in self.lines), Decimal(0))

    @property
    def difference(self) -> Decimal:
        return self.new - self.old

    @property
    def unpriced(self) -> int:
        return sum(line.unpriced for line in self.lines)


def find_preview(viewer: Viewer, slug: str, number: int, *, now: datetime) -> Preview | None:
    """The newest preview of a version, finished or not. None: nobody asked for one."""
    viewer.require(Permission.VIEW_MONEY)
    version = find_version(slug, number)
    kept = version.previews.order_by("-id").first()
    if kept is None:
        return None
    return Preview(
        month=kept.month,
        currency=version.book.currency,
        state=kept.state,
        tenants=kept.tenants,
        tenants_done=kept.tenants_done,
        is_current=kept.digest == digest_of_prices(version) and kept.month == last_month(now),
        requested_by=kept.requested_by,
        requested_at=kept.requested_at,
        finished_at=kept.finished_at,
        lines=_read_lines(kept),
    )


def _read_lines(kept: PricePreview) -> tuple[PreviewLine, ...]:
    rows = list(kept.lines.all())
    names = tenant_refs(row.tenant_id for row in rows)
    lines = (
        PreviewLine(
            row.tenant_id, names[row.tenant_id].slug, row.old, row.new, row.unpriced_before,
            row.unpriced,
        )
        for row in rows
    )  # fmt: skip
    return tuple(sorted(lines, key=lambda line: (-abs(line.difference), line.tenant)))


def find_version(slug: str, number: int) -> PriceBookVersion:
    rows = PriceBookVersion.objects.select_related("book")
    version = rows.filter(book__slug=slug, number=number).first()
    if version is None:
        raise NotFound(f"The book {slug} has no version {number}")
    return version


def digest_of_prices(version: PriceBookVersion) -> str:
    lines = (
        [p.model, p.meter, p.text, p.traffic_class, *([p.runs_on] if p.runs_on else [])]
        for p in lines_of(version)
    )
    return digest_of({"prices": list(lines)})


def last_month(now: datetime) -> str:
    return month_of(month_of(now, "UTC").starts_at - timedelta(hours=1), "UTC").name


def tenants_of(book: PriceBook) -> list[TenantRef]:
    """Who pays by a book, in the order of their ids."""
    if book.tenant_id is not None:
        return list(tenant_refs([book.tenant_id]).values())
    paying = (t for t in tenant_refs().values() if t.currency == book.currency)
    return sorted(paying, key=lambda tenant: tenant.id)


def price_twice(
    version: PriceBookVersion, tenants: Sequence[TenantRef], *, now: datetime
) -> list[PreviewLine]:
    """Rate the month before `now` of each tenant as it was and as if the version had held.

    The month is each tenant's own. Nothing is written.
    """
    tariffs, draft = read_tariffs(tenants), _as_if(version)
    months: dict[Period, list[TenantRef]] = {}
    for tenant in tenants:
        months.setdefault(_last_period(tariffs[tenant.id].calendar, now), []).append(tenant)
    return [
        _line(tenant, usage, tariffs[tenant.id], version.book, draft, period)
        for period, alike in months.items()
        for tenant, usage in _usage(alike, period)
    ]


def _as_if(version: PriceBookVersion) -> BookVersion:
    """The version as if it held always."""
    lines = {
        ((p.model, p.meter, p.traffic_class, p.runs_on), p.kind == Kind.FACTOR): terms_of(p)
        for p in version.prices.order_by("id")
    }
    return version_of(version.pk, version.book.currency, (ALWAYS, None), lines)


def _last_period(calendar: Calendar, now: datetime) -> Period:
    return period_of(calendar.month_at(now).starts_at - timedelta(hours=1), calendar, now)


def _usage(tenants: Sequence[TenantRef], period: Period) -> Iterator[tuple[TenantRef, list[Usage]]]:
    """One statement for tenants whose month is the same; one tenant in memory at a time."""
    left = {tenant.id: tenant for tenant in tenants}
    with connection.chunked_cursor() as cursor:
        cursor.execute(USAGE, [list(left), period.starts_at, period.ends_at] * 2)
        for tenant_id, rows in groupby(cursor, key=itemgetter(1)):
            yield left.pop(tenant_id), [Usage(*row) for row in rows]
    for tenant in left.values():  # no usage, perhaps a fee
        yield tenant, []


def _line(
    tenant: TenantRef,
    usage: Sequence[Usage],
    tariff: Tariff,
    book: PriceBook,
    draft: BookVersion,
    period: Period,
) -> PreviewLine:
    changed = (
        replace(tariff, book=[draft])
        if book.tenant_id is None
        else replace(tariff, contract=[draft])
    )
    old, new = (_rated(usage, tenant, t, period) for t in (tariff, changed))
    return PreviewLine(
        tenant.id, tenant.slug, old.amount, new.amount, len(old.unpriced), len(new.unpriced)
    )


def _rated(usage: Sequence[Usage], tenant: TenantRef, tariff: Tariff, period: Period) -> Rated:
    tariffs = {tenant.id: tariff}
    return with_fees(rate(usage, tariffs), {tenant.id: [period]}, tariffs)
