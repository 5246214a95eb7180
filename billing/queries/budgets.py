"""What is used of monthly budgets, of money and of tokens, by the ledger."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from django.db.models import Sum

from billing.models import UsageHour
from billing.queries.charged import ChargeFilter, sum_charges
from billing.queries.month_ahead import read_forecast, token_forecast
from billing.queries.waiting import waiting_rows
from billing.rules.alerts import WORDS
from billing.rules.budget_ahead import BudgetAhead, ahead_of
from billing.rules.forecast import Forecast
from billing.rules.meters import BILLED
from billing.rules.rating import ChargeRow
from tenants.queries.directory import (
    BudgetRef,
    TenantRef,
    application_refs,
    budget_refs,
    tenant_refs,
)
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import BudgetKind, Month, month_of

MICRO = Decimal(1_000_000)
Place = tuple[int, str]  # application, model
Amounts = dict[int, dict[Place, Decimal]]  # by tenant
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A budget and what is used of it this month."""

    ref: BudgetRef
    month: Month
    units: int  # as gateways count: tokens, or micro-units of the currency, rounded up

    @property
    def limit(self) -> Decimal:
        return limit_of(self.ref)

    @property
    def spent(self) -> Decimal:
        return Decimal(self.units) / _per(self.ref)

    @property
    def used(self) -> Decimal | None:
        """Its part that is used, 0 to 1 and above. None: it is 0, nothing passes."""
        return self.spent / self.limit if self.limit else None


@dataclass(frozen=True, slots=True)
class NamedBudget:
    """As people read it."""

    application: str  # empty: the whole tenant
    model: str  # empty: all models
    use: BudgetUse
    ahead: BudgetAhead | None = None  # None: too little is known to go by

    @property
    def words(self) -> str:
        """What it counts; empty: money."""
        return WORDS.get(self.use.ref.kind, "")


def used_budgets(budgets: Sequence[BudgetRef], now: datetime) -> list[BudgetUse]:
    """In the order given, in the scope that is open."""
    return _used(budgets, tenant_refs({b.tenant_id for b in budgets}).values(), now)


def _used(
    budgets: Sequence[BudgetRef],
    tenants: Iterable[TenantRef],
    now: datetime,
    waiting: Sequence[ChargeRow] | None = None,
) -> list[BudgetUse]:
    months = {tenant.id: month_of(now, tenant.time_zone) for tenant in tenants}
    money = _money(_by_month(months, budgets, {BudgetKind.MONEY}), now, waiting)
    input_, output = _tokens(_by_month(months, budgets, set(BudgetKind) - {BudgetKind.MONEY}))
    sources: dict[BudgetKind, tuple[Amounts, ...]] = {
        BudgetKind.MONEY: (money,),
        BudgetKind.INPUT_TOKENS: (input_,),
        BudgetKind.OUTPUT_TOKENS: (output,),
        BudgetKind.TOKENS: (input_, output),
    }
    return [
        BudgetUse(
            ref=budget,
            month=months[budget.tenant_id],
            units=_units(budget, sources[budget.kind]),
        )
        for budget in budgets
    ]


def limit_of(budget: BudgetRef) -> Decimal:
    """In money, or in tokens."""
    return Decimal(budget.limit) / _per(budget)


def _per(budget: BudgetRef) -> Decimal:
    return MICRO if budget.kind is BudgetKind.MONEY else Decimal(1)


def _units(budget: BudgetRef, sources: Iterable[Amounts]) -> int:
    amount = sum((_covered(budget, amounts) for amounts in sources), Decimal(0))
    return int((amount * _per(budget)).to_integral_value(ROUND_CEILING))


def tenant_budgets(viewer: Viewer, tenant: TenantRef, *, now: datetime) -> list[NamedBudget]:
    """This month's, the tenant's own first, then its applications', then by model."""
    viewer.require(Permission.VIEW_MONEY, tenant.id)
    budgets = budget_refs([tenant.id])
    of_money = any(b.kind is BudgetKind.MONEY for b in budgets)
    money = read_forecast(tenant, now) if of_money else None
    return month_budgets(tenant, budgets, now, money=money)


def month_budgets(
    tenant: TenantRef,
    budgets: Sequence[BudgetRef],
    now: datetime,
    waiting: Sequence[ChargeRow] | None = None,
    *,
    money: Forecast | None,
) -> list[NamedBudget]:
    """The same of budgets, charges that wait for the rating, and a forecast that were read."""
    month = month_of(now, tenant.time_zone)
    of_tokens = any(b.kind is not BudgetKind.MONEY for b in budgets)
    tokens = token_forecast(tenant, month, now) if of_tokens else None
    ids = {b.application_id for b in budgets if b.application_id}
    names = {a.id: a.slug for a in application_refs(ids).values()} if ids else {}
    found = [
        NamedBudget(
            names.get(use.ref.application_id or 0, ""),
            use.ref.model,
            use,
            ahead_of(money if use.ref.kind is BudgetKind.MONEY else tokens, use.spent, use.limit),
        )
        for use in _used(budgets, [tenant], now, waiting)
    ]
    return sorted(found, key=lambda b: (b.application, b.model))


def _by_month(
    months: Mapping[int, Month], budgets: Iterable[BudgetRef], kinds: set[BudgetKind]
) -> dict[Span, list[int]]:
    """Tenants that have a budget of these kinds, by their month."""
    found: dict[Span, list[int]] = defaultdict(list)
    for tenant_id in sorted({b.tenant_id for b in budgets if b.kind in kinds}):
        month = months[tenant_id]
        found[month.starts_at, month.ends_at].append(tenant_id)
    return found


def _money(
    by_month: Mapping[Span, list[int]], now: datetime, waiting: Sequence[ChargeRow] | None
) -> Amounts:
    """What each tenant owes this month, by application and model; unrated hours included."""
    amounts = _nothing()
    for (start, end), tenants in by_month.items():
        wanted = ChargeFilter(start, end, tenant_ids=tuple(tenants))
        for line in sum_charges(wanted, by=("tenant_id", "application_id", "model")):
            amounts[line.key[0]][line.key[1], line.key[2]] += line.amount
        for row in waiting_rows(start, end, now, tenants) if waiting is None else waiting:
            amounts[row.key.tenant_id][row.key.application_id, row.key.model] += row.amount
    return amounts


def _tokens(by_month: Mapping[Span, list[int]]) -> tuple[Amounts, Amounts]:
    """Tokens in and out of requests that are paid for, whether or not they have a price."""
    input_, output = _nothing(), _nothing()
    for (start, end), tenants in by_month.items():
        rows = UsageHour.objects.filter(
            hour__gte=start, hour__lt=end, tenant_id__in=tenants, outcome__in=list(BILLED)
        )
        sums = rows.values_list("tenant_id", "application_id", "model").annotate(
            Sum("prompt_tokens"), Sum("completion_tokens")
        )
        for tenant_id, application_id, model, prompt, completion in sums:
            input_[tenant_id][application_id, model] += prompt
            output[tenant_id][application_id, model] += completion
    return input_, output


def _nothing() -> Amounts:
    return defaultdict(lambda: defaultdict(Decimal))


def _covered(budget: BudgetRef, amounts: Amounts) -> Decimal:
    mine = amounts.get(budget.tenant_id, {}).items()
    return sum((amount for place, amount in mine if _covers(budget, place)), Decimal(0))


def _covers(budget: BudgetRef, place: Place) -> bool:
    application_id, model = place
    return budget.application_id in (None, application_id) and budget.model in ("", model)
