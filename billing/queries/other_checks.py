"""What the fleet costs besides GPUs: the bills against what tenants and nobody bear of them."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from billing.models import Allocation, AllocationRun
from billing.queries.other_costs import other_costs
from billing.queries.sums import Check, Difference, name_of

ZERO = Decimal(0)


def other_checks(since: datetime) -> Iterator[Check]:
    """For each currency of the attributed hours from `since` on."""
    runs = AllocationRun.objects.filter(is_current=True, hour__gte=since)
    for currency in runs.order_by("currency").values_list("currency", flat=True).distinct():
        hours = list(runs.filter(currency=currency).order_by("hour").values_list("hour", flat=True))
        shares = Allocation.objects.filter(
            kind=Allocation.Kind.TENANT,
            pool__run__is_current=True,
            pool__run__currency=currency,
            hour__gte=since,
        )
        direct = {t: cost for t, cost in shares.values_list("tenant_id").annotate(Sum("amount"))}
        found = other_costs(hours, currency, direct, {})
        borne = sum(found.by_tenant.values(), ZERO) + found.unallocated
        wrong = found.whole != borne
        named = name_of(Difference(None, None, currency, found.whole, borne), {})
        yield Check(
            f"cost: platform + hosted bills = tenants + nobody's, in {currency}",
            found.whole, borne, int(wrong), (named,) if wrong else (),
        )  # fmt: skip
