"""Keep what gateways know of spent budgets true, of money and of tokens.

A gateway adds to `spent` what it settles, at once. The ledger knows the same some seconds later
and knows what gateways forgot: it has the last word upwards. It never lowers a live counter,
because a lower figure only means that events are still on their way. A counter that was lost
(no `gen`) is written with the ledger's figure; until then gateways refuse with
`budget_unverifiable`. A correction that lowers charges shows in the next period.
"""

from datetime import datetime, timedelta

from django.conf import settings

from billing.actions.alerts import fire
from billing.clients.counters import Spent, budget_counters
from billing.queries.budgets import BudgetUse, used_budgets
from tenants.base.scope import fleet_scope
from tenants.queries.directory import budget_refs

GENERATION = "1"
KEPT = timedelta(days=7)  # after the period: late requests still find their counter


def keep_budgets(now: datetime) -> int:
    """Write what every current budget has spent this month, and tell of thresholds.

    Returns how many there are.
    """
    with fleet_scope():
        used = used_budgets(budget_refs(), now)
        fire(used, now)
    counters = budget_counters(settings.REDIS_URL)
    return counters.publish((_spent(use, now) for use in used), generation=GENERATION)


def _spent(use: BudgetUse, now: datetime) -> Spent:
    return Spent(
        tenant_id=use.ref.tenant_id,
        series=use.ref.series,
        kind=use.ref.kind.value,
        period=use.month.name,
        units=use.units,
        seconds_to_live=int((use.month.ends_at + KEPT - now).total_seconds()),
    )
