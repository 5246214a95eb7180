"""Keep what gateways know of spent money true.

A gateway adds to `spent` what it settles, at once. The ledger knows the same some seconds later
and knows what gateways forgot: it has the last word upwards. It never lowers a live counter,
because a lower figure only means that events are still on their way. A counter that was lost
(no `gen`) is written with the ledger's figure; until then gateways refuse with
`budget_unverifiable`. A correction that lowers charges shows in the next period.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from django.conf import settings

from billing.actions.alerts import fire
from billing.clients.counters import Spent, budget_counters
from billing.queries.charged import ChargeFilter, sum_charges
from billing.queries.waiting import waiting_rows
from tenants.base.scope import fleet_scope
from tenants.queries.directory import BudgetRef, budget_refs, tenant_refs
from tenants.rules.quotas import Month, month_of

GENERATION = "1"
KEPT = timedelta(days=7)  # after the period: late requests still find their counter

Place = tuple[int, str]  # application, model


def keep_budgets(now: datetime) -> int:
    """Write what every current budget has spent this month, and tell of thresholds.

    Returns how many there are.
    """
    with fleet_scope():
        budgets = budget_refs()
        spent = spent_budgets(budgets, now)
        fire(budgets, spent, now)
    return budget_counters(settings.REDIS_URL).publish(spent, generation=GENERATION)


def spent_budgets(budgets: Sequence[BudgetRef], now: datetime) -> list[Spent]:
    zones = {t.id: t.time_zone for t in tenant_refs({b.tenant_id for b in budgets}).values()}
    months = {tenant: month_of(now, zone) for tenant, zone in zones.items()}
    amounts = _amounts(months, now)
    found = []
    for budget in budgets:
        month = months[budget.tenant_id]
        mine = amounts.get(budget.tenant_id, {}).items()
        total = sum((a for place, a in mine if _covers(budget, place)), Decimal(0))
        found.append(
            Spent(
                tenant_id=budget.tenant_id,
                series=budget.series,
                period=month.name,
                micros=int((total * 1_000_000).to_integral_value(ROUND_CEILING)),
                seconds_to_live=int((month.ends_at + KEPT - now).total_seconds()),
            )
        )
    return found


def _amounts(months: Mapping[int, Month], now: datetime) -> dict[int, dict[Place, Decimal]]:
    """What each tenant owes this month, by application and model; unrated hours included."""
    by_month: dict[tuple[datetime, datetime], list[int]] = defaultdict(list)
    for tenant_id, month in months.items():
        by_month[month.starts_at, month.ends_at].append(tenant_id)
    amounts: dict[int, dict[Place, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for (start, end), tenants in by_month.items():
        wanted = ChargeFilter(start, end, tenant_ids=tuple(tenants))
        for line in sum_charges(wanted, by=("tenant_id", "application_id", "model")):
            amounts[line.key[0]][line.key[1], line.key[2]] += line.amount
        for row in waiting_rows(start, end, now, tenants):
            amounts[row.key.tenant_id][row.key.application_id, row.key.model] += row.amount
    return amounts


def _covers(budget: BudgetRef, place: Place) -> bool:
    application_id, model = place
    return budget.application_id in (None, application_id) and budget.model in ("", model)
