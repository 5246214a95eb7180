"""Keep what gateways know of spent budgets true, of money and of tokens.

A gateway adds to `spent` what it settles, at once. The ledger knows the same some seconds later
and knows what gateways forgot: it has the last word upwards. It never lowers a live counter,
because a lower figure only means that events are still on their way. A counter that was lost
(no `gen`) is written with the ledger's figure; until then gateways refuse with
`budget_unverifiable`. Counters of the next month are there before it begins, so that nothing is
refused at midnight. A correction that lowers charges shows in the next period.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings

from billing.actions.alerts import fire
from billing.clients.counters import Spent, budget_counters
from billing.queries.budgets import BudgetUse, used_budgets
from tenants.base.scope import fleet_scope
from tenants.queries.directory import budget_refs

GENERATION = "1"
KEPT = timedelta(days=7)  # after the period: late requests still find their counter
AHEAD = timedelta(hours=6)  # of a month that begins: workers may be down for a while
LONGEST_MONTH = timedelta(days=31)


def keep_budgets(now: datetime) -> int:
    """Write what every current budget has spent this month, and tell of thresholds.

    Returns how many there are.
    """
    with fleet_scope():
        used = used_budgets(budget_refs(), now)
        fire(used, now)
    spent = [_spent(use, now) for use in used]
    spent += [_next(use, now) for use in used if use.month.ends_at - now <= AHEAD]
    budget_counters(settings.REDIS_URL).publish(spent, generation=GENERATION)
    return len(used)


def _spent(use: BudgetUse, now: datetime) -> Spent:
    return Spent(
        tenant_id=use.ref.tenant_id,
        series=use.ref.series,
        kind=use.ref.kind.value,
        period=use.month.name,
        units=use.units,
        seconds_to_live=int((use.month.ends_at + KEPT - now).total_seconds()),
    )


def _next(use: BudgetUse, now: datetime) -> Spent:
    """Of the month that begins: nothing is spent of it yet."""
    ends_at = use.month.ends_at
    return replace(
        _spent(use, now),
        period=f"{ends_at:%Y-%m}",  # its first instant, by the clocks of the tenant
        units=0,
        seconds_to_live=int((ends_at + LONGEST_MONTH + KEPT - now).total_seconds()),
    )
