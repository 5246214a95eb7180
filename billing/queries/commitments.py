"""Minima of contracts by month: what use has covered, what is left, what was charged for it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from billing.models import Price, PriceBookVersion
from billing.queries.books import read_tariffs
from billing.queries.months import period_of
from billing.queries.visibility import visible_tenants
from billing.queries.waiting import waiting_rows
from billing.rules.commitments import WARNED, amount_of, days_left, due_warning, end_of
from billing.rules.meters import BY_USE, Meter
from billing.rules.prices.kinds import read_terms
from billing.rules.prices.terms import Kind, part_of
from billing.rules.tariffs import Tariff
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Viewer

BEFORE = timedelta(days=365)  # how far back months are listed
ZERO = Decimal(0)
SPANS = """unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
    AS m (tenant_id, starts, ends, place)"""
ALL_CHARGED = f"""
SELECT m.place - 1, sum(h.amount) FROM {SPANS} JOIN usage_hour_head h
    ON h.tenant_id = m.tenant_id AND h.hour >= m.starts AND h.hour < m.ends GROUP BY 1
"""
# Fees stand in the first hour of what a version holds of a month, minima in the last. Hours first:
# behind a policy no index is asked for what is still to be computed from an hour.
BY_CONTRACT = f"""
SELECT m.place - 1, c.meter, sum(c.amount) FROM {SPANS}
CROSS JOIN LATERAL (SELECT m.starts AS hour UNION SELECT m.ends - interval '1 hour') AS at
JOIN charge c ON c.tenant_id = m.tenant_id AND c.hour = at.hour
WHERE c.meter IN ('fee', 'commitment') GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Minimum:
    """What one version of a contract asks for in the part [starts_at, ends_at) of a month."""

    tenant: TenantRef
    book: str
    number: int
    version_id: int
    currency: str
    month: str
    starts_at: datetime
    ends_at: datetime
    is_over: bool
    amount: Decimal
    contract_ends_at: datetime | None  # None: no end is known


@dataclass(frozen=True, slots=True)
class MinimumUse:
    minimum: Minimum
    used: Decimal  # charges of use, those that wait for rating too
    charged: Decimal  # for what use left of it, once the month is over
    now: datetime

    @property
    def unused(self) -> Decimal:
        return max(ZERO, self.minimum.amount - self.used)

    @property
    def share(self) -> Decimal | None:
        """The used part of it, 0 to 1 and above. None: nothing was asked for."""
        return self.used / self.minimum.amount if self.minimum.amount else None

    @property
    def days_left(self) -> int | None:
        end = self.minimum.contract_ends_at
        return None if end is None else days_left(end, self.now)

    @property
    def warning(self) -> int | None:
        """The warning of its end that is due, in days; only of the month that runs."""
        end = self.minimum.contract_ends_at
        return None if end is None or self.minimum.is_over else due_warning(end, self.now)


@dataclass(frozen=True, slots=True)
class Ending:
    """A minimum that ends soon, and nothing goes on with one."""

    tenant: TenantRef
    amount: Decimal  # of a whole month
    currency: str
    ends_at: datetime
    days_left: int


def list_commitments(
    viewer: Viewer, *, now: datetime, tenant_id: int | None = None, since: datetime | None = None
) -> list[MinimumUse]:
    """Each month of a year with a minimum, or since then, the newest first."""
    visible = visible_tenants(viewer, tenant_id)
    return used_minima(visible, now=now, since=since or now - BEFORE)


def list_ending(viewer: Viewer, *, now: datetime) -> list[Ending]:
    """The soonest first. Without what is used of them: the overview asks every few seconds."""
    versions = _ending_versions(visible_tenants(viewer, None), now)
    rows = Price.objects.filter(kind=Kind.COMMITMENT.value, book_version__in=versions)
    amounts: dict[tuple[int, str, datetime], Decimal] = defaultdict(Decimal)
    for tenant_id, currency, ends_at, terms in rows.values_list(
        "book_version__book__tenant_id",
        "book_version__book__currency",
        "book_version__effective__endswith",
        "terms",
    ):
        assert tenant_id is not None  # a contract has one
        amounts[tenant_id, currency, ends_at] += read_terms(terms).unit_price
    tenants = tenant_refs({tenant_id for tenant_id, *_ in amounts}) if amounts else {}
    found = [
        Ending(tenants[tenant_id], amount, currency, ends_at, days_left(ends_at, now))
        for (tenant_id, currency, ends_at), amount in amounts.items()
    ]
    return sorted(found, key=lambda e: (e.ends_at, e.tenant.slug))


def _ending_versions(tenant_ids: Sequence[int] | None, now: datetime) -> QuerySet[PriceBookVersion]:
    """Of contracts: in force, with a minimum that ends within the first warning for good."""
    minima = PriceBookVersion.objects.filter(
        published_at__isnull=False, prices__kind=Kind.COMMITMENT.value
    ).exclude(book__tenant_id=None)
    next_one = minima.filter(
        book=OuterRef("book"), effective__startswith=OuterRef("effective__endswith")
    )
    rows = minima.filter(
        ~Exists(next_one),
        effective__contains=now,
        effective__endswith__lte=now + timedelta(days=max(WARNED)),
    )
    return rows if tenant_ids is None else rows.filter(book__tenant_id__in=list(tenant_ids))


def ending_minima(tenant_ids: Sequence[int] | None, *, now: datetime) -> list[MinimumUse]:
    """With what is used of them, in the scope that is open; of these tenants, or of all."""
    # Use is summed for these alone: mostly there are none.
    versions = _ending_versions(tenant_ids, now)
    some = sorted({v.book.tenant_id for v in versions.select_related("book") if v.book.tenant_id})
    found = [u for u in used_minima(some, now=now, since=now) if u.warning] if some else []
    return sorted(found, key=lambda u: (u.days_left or 0, u.minimum.tenant.slug))


def used_minima(
    tenant_ids: Sequence[int] | None, *, now: datetime, since: datetime
) -> list[MinimumUse]:
    """In the scope that is open; of these tenants, or of all."""
    rows = PriceBookVersion.objects.exclude(book__tenant_id=None)
    if tenant_ids is not None:
        rows = rows.filter(book__tenant_id__in=list(tenant_ids))
    names = {v.pk: v for v in rows.select_related("book")}
    tenants = tenant_refs({v.book.tenant_id for v in names.values() if v.book.tenant_id})
    found = [
        minimum
        for tenant_id, tariff in read_tariffs(tenants.values()).items()
        for minimum in _minima(tenants[tenant_id], names, tariff, since, now)
    ]
    found.sort(key=lambda m: (m.starts_at, m.tenant.slug), reverse=True)
    return _with_use(found, now)


def _minima(
    tenant: TenantRef,
    names: Mapping[int, PriceBookVersion],
    tariff: Tariff,
    since: datetime,
    now: datetime,
) -> list[Minimum]:
    found = []
    for version in tariff.contract:
        amount, at = amount_of(version), max(version.starts_at, since)
        while amount and at <= now and (version.ends_at is None or at < version.ends_at):
            period = period_of(at, tariff.calendar, now)
            start, end = version.held_in(period.starts_at, period.ends_at)
            minimum = Minimum(
                tenant=tenant,
                book=names[version.id].book.slug,
                number=names[version.id].number,
                version_id=version.id,
                currency=version.currency,
                month=tariff.calendar.month_at(at).name,
                starts_at=start,
                ends_at=end,
                is_over=period.is_over,
                amount=part_of(amount, period.share(start, end)),
                contract_ends_at=end_of(version, tariff.contract),
            )
            found.append(minimum)
            at = period.ends_at
    return found


def _with_use(minima: Sequence[Minimum], now: datetime) -> list[MinimumUse]:
    columns: list[list[Any]] = [
        [m.tenant.id for m in minima],
        [m.starts_at for m in minima],
        [m.ends_at for m in minima],
    ]
    contract: dict[tuple[int, str], Decimal] = {}
    with connection.cursor() as cursor:
        cursor.execute(ALL_CHARGED, columns)
        all_charged = dict(cursor.fetchall())
        cursor.execute(BY_CONTRACT, columns)
        for place, meter, amount in cursor.fetchall():
            contract[place, meter] = amount
    waiting = _waiting(minima, now)
    found = []
    for place, minimum in enumerate(minima):
        charged = contract.get((place, Meter.COMMITMENT.value), ZERO)
        fees = contract.get((place, Meter.FEE.value), ZERO)
        used = all_charged.get(place, ZERO) - fees - charged + waiting[place]
        found.append(MinimumUse(minimum, used, charged, now))
    return found


def _waiting(minima: Sequence[Minimum], now: datetime) -> dict[int, Decimal]:
    """Use of months that run which the next rating will charge, by place."""
    found: dict[int, Decimal] = defaultdict(Decimal)
    running = {place: m for place, m in enumerate(minima) if not m.is_over}
    if not running:
        return found
    rows = waiting_rows(
        min(m.starts_at for m in running.values()),
        max(m.ends_at for m in running.values()),
        now,
        sorted({m.tenant.id for m in running.values()}),
    )
    for row in rows:
        if row.key.meter in BY_USE:
            for place, m in running.items():
                if m.tenant.id == row.key.tenant_id and m.starts_at <= row.key.hour < m.ends_at:
                    found[place] += row.amount
    return found
