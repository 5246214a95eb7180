"""What a tenant pays: month to date, forecast, parts of it, and the rows behind each figure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Max, Min, QuerySet, Sum

from billing.models import Charge, HourHead, UnpricedUsage
from billing.queries.budgets import limit_of
from billing.queries.charged import ChargeFilter, sum_amounts, sum_charges, sum_days
from billing.queries.visibility import narrowed, visible_tenants
from billing.queries.waiting import waiting_rows
from billing.rules.forecast import Forecast, forecast
from billing.rules.meters import SALES, Meter
from billing.rules.rating import ChargeRow
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
BEFORE = timedelta(weeks=8)  # what the forecast learns the week's rhythm from
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
    before = replace(wanted, start=last.starts_at, end=last.ends_at)
    same = replace(before, end=min(last.ends_at, last.starts_at + (until - month.starts_at)))
    heads = HourHead.objects.filter(
        tenant_id=tenant.id, hour__gte=month.starts_at, hour__lt=month.ends_at
    )
    unpriced = UnpricedUsage.objects.filter(
        tenant_id=tenant.id, hour__gte=month.starts_at, hour__lt=month.ends_at
    )
    waiting = waiting_rows(month.starts_at, month.ends_at, now, [tenant.id])
    return MonthToDate(
        tenant=tenant,
        month=month,
        until=until,
        charged=total(wanted),
        waiting_rows=tuple(waiting),
        month_before=total(before),
        month_before_same_span=total(same),
        rated_until=min((row.key.hour for row in waiting), default=None),
        rated_at=heads.aggregate(at=Max("rated_at"))["at"],
        unpriced_rows=unpriced.count(),
        budgets=tuple(budget_refs([tenant.id])),
        forecast=tenant_forecast(tenant, month, now) if until == now else None,
        wanted=wanted,
    )


def named_month(name: str, time_zone: str) -> Month:
    try:
        first = datetime.strptime(name, "%Y-%m").replace(day=15, tzinfo=ZoneInfo(time_zone))
    except ValueError as error:
        raise Invalid(month=f"{name[:20]!r} is no month; write 2026-11") from error
    return month_of(first, time_zone)


def tenant_forecast(tenant: TenantRef, month: Month, now: datetime) -> Forecast | None:
    zone = ZoneInfo(tenant.time_zone)
    wanted = ChargeFilter(month.starts_at - BEFORE, now, tenant_id=tenant.id)
    days = sum_days(wanted, tenant.time_zone)
    today = now.astimezone(zone).date()
    return forecast(
        filled(days, until=today),
        today=today,
        today_so_far=days.get(today, ZERO),
        month_end=month.ends_at.astimezone(zone).date(),
    )


def filled(days: dict[date, Decimal], *, until: date) -> dict[date, Decimal]:
    """Quiet days between the first charge and `until` as zeros: they are days as well."""
    if not days:
        return {}
    first = min(days)
    span = (first + timedelta(days=n) for n in range((until - first).days))
    return {day: days.get(day, ZERO) for day in span}


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
    whole = sum((line.amount for line in lines), ZERO)
    names = names_of(by, (line.key[0] for line in lines))
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


def first_hour(viewer: Viewer, tenant_id: int | None = None) -> datetime | None:
    """The oldest hour with usage: where the choice of months begins."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = HourHead.objects.all()
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    found: datetime | None = rows.aggregate(at=Min("hour"))["at"]
    return found


def rated_sum(viewer: Viewer, wanted: ChargeFilter) -> Decimal:
    """What hours say they were rated at: the same sum from another table."""
    tenants = visible_tenants(viewer, wanted.tenant_id)
    rows = HourHead.objects.filter(hour__gte=wanted.start, hour__lt=wanted.end)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    return rows.aggregate(s=Sum("amount"))["s"] or ZERO
