"""Look for days on which spending was out of the ordinary. What is found can be found anew."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import connection

from billing.actions.rating import LOCK as RATING_LOCK
from billing.models import SpendAnomaly
from billing.queries.charged import ChargeFilter, midnight, sum_amounts
from billing.rules.anomalies import JUDGED, WEEKS, find_anomalies
from tenants.base.scope import fleet_scope

LOCK = RATING_LOCK + 31  # of advisory locks
DECIMALS = Decimal(1).scaleb(-12)
Amounts = dict[tuple[int, str], dict[str, dict[date, Decimal]]]  # tenant and currency, model, day


def keep_anomalies(now: datetime) -> int:
    """Judge the last whole UTC days again: late usage changes them. Returns how many are odd."""
    today = now.date()
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        since = today - timedelta(days=JUDGED)
        SpendAnomaly.objects.filter(day__gte=since).delete()
        found = [
            SpendAnomaly(
                tenant_id=tenant_id,
                currency=currency,
                day=odd.day,
                model=odd.model,
                amount=odd.amount,
                usual=odd.usual.quantize(DECIMALS),
                low=odd.low.quantize(DECIMALS),
                high=odd.high.quantize(DECIMALS),
                found_at=now,
            )
            for (tenant_id, currency), by_model in _amounts(since, today).items()
            for odd in find_anomalies(by_model, today=today)
        ]
        SpendAnomaly.objects.bulk_create(found)
        return len(found)


def _amounts(since: date, today: date) -> Amounts:
    start = midnight(since - timedelta(weeks=WEEKS))
    found: Amounts = defaultdict(lambda: defaultdict(dict))
    wanted = ChargeFilter(start, midnight(today))
    sums = sum_amounts(wanted, by=("day", "tenant_id", "model", "currency"))
    for (day, tenant_id, model, currency), amount in sums.items():
        if model:  # fees and minima of the account come by contract, not by surprise
            found[tenant_id, currency][model][day] = amount
    return found
