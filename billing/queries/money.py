"""What a tenant pays: month to date, forecast, parts of it, and the rows behind each figure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import QuerySet
from django.db.models import Sum as SumOf

from billing.models import Charge, HourHead, UnpricedUsage
from billing.queries.budgets import limit_of
from billing.queries.charged import (
    ChargeFilter,
    Sum,
    sum_amounts,
    sum_charges,
    sum_days,
    sum_days_of_use,
)
from billing.queries.month_ahead import BEFORE, BookName, month_forecast, month_terms
from billing.queries.visibility import narrowed, visible_tenants
from billing.queries.waiting import waiting_rows
from billing.rules.forecast import Forecast
from billing.rules.meters import SALES, Meter
from billing.rules.rating import ChargeRow
from billing.rules.years import SAID, is_known
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import (
    BudgetRef,
    TenantRef,
    application_refs,
    budget_refs,
    tenant_refs,
)
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import BudgetKind, Month, month_of

ZERO = Decimal(0)
PARTS = ("model", "application_id", "meter", "traffic_class", "tenant_id")


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a sum. `wanted` is the filter that leads to exactly its rows."""

    key: str
    name: str
    quantity: Decimal
    amount: Decimal
    share: Decimal  # of the whole, 0 to 1
    before: Decimal  # the same part in the span before, to compare with
    wanted: ChargeFilter


@dataclass(frozen=True, slots=True)
class MonthToDate:
    """A tenant's month. `charged` has rows; `waiting` is what the next rating will add."""

    tenant: TenantRef
    month: Month
    until: datetime
    charged: Decimal
    waiting_rows: tuple[ChargeRow, ...]
    month_before: Decimal  # the whole one
    month_before_same_span: Decimal
    rated_until: datetime | None  # usage before this is charged; None: nothing waits
    rated_at: datetime | None
    unpriced_rows: int
    budgets: tuple[BudgetRef, ...]
    forecast: Forecast | None
    wanted: ChargeFilter
    same_span_before: ChargeFilter
    days: Mapping[date, Decimal]  # charged by the tenant's day, some weeks before the month too
    books: tuple[BookName, ...]  # what it pays by now, its contract first
    first_hour: datetime | None  # with usage: where the choice of months begins

    @property
    def waiting(self) -> Decimal:
        return sum((row.amount for row in self.waiting_rows), ZERO)

    @property
    def budget(self) -> Decimal | None:
        """The tenant's own, of money, over all applications and models."""
        return own_budgets(self.budgets).get(self.tenant.id)

    @property
    def total(self) -> Decimal:
        return self.charged + self.waiting

    @property
    def budget_used(self) -> Decimal | None:
        """Part of the budget that is spent, 0 to 1 and above."""
        return self.total / self.budget if self.budget else None


def find_tenant(viewer: Viewer, slug: str) -> TenantRef:
    """The tenant, to whom may see its money; a stranger learns nothing."""
    found = next((t for t in tenant_refs().values() if t.slug == slug), None)
    if found is None:
        raise NotFound("There is nothing here, or it is not yours to see")
    viewer.require(Permission.VIEW_MONEY, found.id)
    return found


def tenant_month(viewer: Viewer, slug: str, *, now: datetime, name: str = "") -> MonthToDate:
    """The month to date, or the whole of another month named like "2026-10"."""
    tenant = find_tenant(viewer, slug)
    month = named_month(name, tenant.time_zone) if name else month_of(now, tenant.time_zone)
    until = min(now, month.ends_at)
    wanted = ChargeFilter(month.starts_at, month.ends_at, tenant_id=tenant.id)
    last = month_of(month.starts_at - timedelta(hours=1), tenant.time_zone)
    end = min(last.ends_at, last.starts_at + (until - month.starts_at))
    same = replace(wanted, start=last.starts_at, end=end)
    since = replace(wanted, start=month.starts_at - BEFORE)
    use, account = sum_days_of_use(since, tenant.time_zone)
    days = {day: use.get(day, ZERO) + account.get(day, ZERO) for day in use.keys() | account.keys()}
    waiting = waiting_rows(month.starts_at, month.ends_at, now, [tenant.id])
    rated_at, unpriced, first = _state(wanted)
    terms = month_terms(tenant, month, now)
    return MonthToDate(
        tenant=tenant,
        month=month,
        until=until,
        charged=sum_of(days, month, tenant.time_zone),
        waiting_rows=tuple(waiting),
        month_before=sum_of(days, last, tenant.time_zone),
        month_before_same_span=total(same),
        rated_until=min((row.key.hour for row in waiting), default=None),
        rated_at=rated_at,
        unpriced_rows=unpriced,
        budgets=tuple(budget_refs([tenant.id])),
        forecast=month_forecast(tenant, month, now, use=use, account=account, terms=terms)
        if until == now
        else None,
        wanted=wanted,
        same_span_before=same,
        days=days,
        books=terms.books,
        first_hour=first,
    )


STATE = """
SELECT (SELECT max(rated_at) FROM usage_hour_head
        WHERE tenant_id = %(tenant)s AND hour >= %(start)s AND hour < %(end)s),
    (SELECT count(*) FROM unpriced_usage
        WHERE tenant_id = %(tenant)s AND hour >= %(start)s AND hour < %(end)s),
    (SELECT min(hour) FROM usage_hour_head WHERE tenant_id = %(tenant)s)
"""


def _state(wanted: ChargeFilter) -> tuple[datetime | None, int, datetime | None]:
    """When the month was rated last, its rows without a price, and the tenant's first hour."""
    with connection.cursor() as cursor:
        given = {"tenant": wanted.tenant_id, "start": wanted.start, "end": wanted.end}
        cursor.execute(STATE, given)
        rated_at, unpriced, first = cursor.fetchone()
    return rated_at, unpriced, first


def sum_of(days: Mapping[date, Decimal], month: Month, time_zone: str) -> Decimal:
    """Of the month's days, by its zone."""
    zone = ZoneInfo(time_zone)
    first, after = (at.astimezone(zone).date() for at in (month.starts_at, month.ends_at))
    return sum((amount for day, amount in days.items() if first <= day < after), ZERO)


def named_month(name: str, time_zone: str) -> Month:
    try:
        first = datetime.strptime(name, "%Y-%m").replace(day=15, tzinfo=ZoneInfo(time_zone))
    except ValueError as error:
        raise Invalid(month=f"{name[:20]!r} is no month; write 2026-11") from error
    if not is_known(first):
        raise Invalid(month=SAID)
    return month_of(first, time_zone)


def budgets() -> dict[int, Decimal]:
    """Tenants' own monthly budgets of money, over all applications and models."""
    return own_budgets(budget_refs())


def own_budgets(budgets: Iterable[BudgetRef]) -> dict[int, Decimal]:
    return {
        b.tenant_id: limit_of(b)
        for b in budgets
        if b.kind is BudgetKind.MONEY and b.application_id is None and not b.model
    }


def total(wanted: ChargeFilter) -> Decimal:
    return sum_amounts(wanted)[()]


def charged_days(
    viewer: Viewer, wanted: ChargeFilter, *, time_zone: str = "UTC"
) -> dict[date, Decimal]:
    """Amounts by calendar day of the zone; quiet days are absent."""
    return sum_days(narrowed(viewer, wanted), time_zone)


def days_by_currency(viewer: Viewer, wanted: ChargeFilter) -> dict[str, dict[date, Decimal]]:
    """Amounts by UTC day, of each currency apart: tenants may pay by books of several."""
    found: dict[str, dict[date, Decimal]] = {}
    sums = sum_amounts(narrowed(viewer, wanted), by=("currency", "day"))
    for (currency, day), amount in sums.items():
        found.setdefault(currency, {})[day] = amount
    return found


def parts(
    viewer: Viewer, wanted: ChargeFilter, by: str, *, compared: ChargeFilter | None = None
) -> list[Part]:
    """The sum cut by one of `PARTS`, largest first. `compared` is the span to compare with."""
    wanted = narrowed(viewer, wanted)
    compared = narrowed(viewer, compared) if compared else None
    if by not in PARTS:
        raise Invalid(by=f"There is no part {by!r}; there are {', '.join(PARTS)}")
    lines = sum_charges(wanted, by=(by,))
    old = {s.key[0]: s.amount for s in sum_charges(compared, by=(by,))} if compared else {}
    return parts_from(by, lines, old, wanted)


def parts_from(
    by: str,
    lines: Sequence[Sum],
    old: Mapping[Any, Decimal],
    wanted: ChargeFilter,
    names: Mapping[object, str] | None = None,
) -> list[Part]:
    """Of sums that were read already, with those of the span before by the same key."""
    whole = sum((line.amount for line in lines), ZERO)
    names = names_of(by, (line.key[0] for line in lines)) if names is None else names
    found = [
        Part(
            key=str(line.key[0]),
            name=names.get(line.key[0], str(line.key[0])),
            quantity=line.quantity,
            amount=line.amount,
            share=line.amount / whole if whole else ZERO,
            before=old.get(line.key[0], ZERO),
            wanted=replace(wanted, **of_part(by, line.key[0])),
        )
        for line in lines
    ]
    return sorted(found, key=lambda p: (-p.amount, p.name))


def of_part(by: str, key: Any) -> dict[str, Any]:
    """The filter of a part. What has no service or class is owed by the tenant as a whole."""
    return {by: key} if key else {"application_id": 0}


def names_of(by: str, keys: Iterable[object]) -> dict[object, str]:
    if by == "application_id":
        names: dict[object, str] = {a.id: a.slug for a in application_refs().values()}
        return names | {0: "the account"}
    if by == "tenant_id":
        return {t.id: t.slug for t in tenant_refs().values()}
    if by == "meter":
        return {m.value: SALES[m].label for m in Meter}
    return {key: str(key) or "the account" for key in keys}


def list_charges(viewer: Viewer, wanted: ChargeFilter) -> QuerySet[Charge]:
    """The rows behind a figure, newest hour first; their sum is the figure."""
    rows = Charge.objects.filter(**conditions(viewer, wanted))
    return rows.select_related("book_version__book").order_by("-hour", "-id")


def list_unpriced(viewer: Viewer, wanted: ChargeFilter) -> QuerySet[UnpricedUsage]:
    return UnpricedUsage.objects.filter(**conditions(viewer, wanted)).order_by("-hour", "-id")


def conditions(viewer: Viewer, wanted: ChargeFilter) -> dict[str, Any]:
    """The filter as keywords of a query set, cut to what the viewer may see."""
    wanted = narrowed(viewer, wanted)
    _, given = wanted.conditions()
    tenants = given.pop("tenant_ids", None)
    if tenants is not None:
        given["tenant_id__in"] = tenants
    return given | {"hour__gte": wanted.start, "hour__lt": wanted.end}


def month_amounts(
    viewer: Viewer, *, now: datetime, tenant_ids: Collection[int] | None = None
) -> dict[int, Decimal]:
    """This month's charges by tenant (UTC month): for lists, or for the given rows of one."""
    month = month_of(now, "UTC")
    return span_amounts(viewer, month.starts_at, month.ends_at, tenant_ids=tenant_ids)


def span_amounts(
    viewer: Viewer, start: datetime, end: datetime, *, tenant_ids: Collection[int] | None = None
) -> dict[int, Decimal]:
    """Charges by tenant, of those that the viewer may see; `tenant_ids` asks for fewer."""
    wanted = narrowed(viewer, ChargeFilter(start, end))
    if tenant_ids is not None:
        seen = wanted.tenant_ids
        asked = tuple(pk for pk in tenant_ids if seen is None or pk in seen)
        wanted = replace(wanted, tenant_ids=asked)
    return {key[0]: amount for key, amount in sum_amounts(wanted, by=("tenant_id",)).items()}


def rated_sum(viewer: Viewer, wanted: ChargeFilter) -> Decimal:
    """What hours say they were rated at: the same sum from another table."""
    tenants = visible_tenants(viewer, wanted.tenant_id)
    rows = HourHead.objects.filter(hour__gte=wanted.start, hour__lt=wanted.end)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    return rows.aggregate(s=SumOf("amount"))["s"] or ZERO
