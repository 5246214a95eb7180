"""The months of accounts, from their billing periods. In the scope that is open."""

from collections import defaultdict
from collections.abc import Iterable

from billing.models import BillingAccount, BillingPeriod
from billing.rules.calendars import Calendar
from tenants.queries.directory import TenantRef
from tenants.rules.quotas import Month


def read_calendars(tenants: Iterable[TenantRef]) -> dict[int, Calendar]:
    zones = {t.id: t.time_zone for t in tenants}
    chosen = BillingAccount.objects.filter(tenant_id__in=list(zones))
    zones |= dict(chosen.values_list("tenant_id", "time_zone"))
    periods: dict[int, list[BillingPeriod]] = defaultdict(list)
    for row in BillingPeriod.objects.filter(tenant_id__in=list(zones)).order_by("starts_at"):
        periods[row.tenant_id].append(row)
    return {tenant_id: _calendar(zone, periods[tenant_id]) for tenant_id, zone in zones.items()}


def _calendar(zone: str, periods: list[BillingPeriod]) -> Calendar:
    if not periods:
        return Calendar(zone)
    known = tuple(Month(p.name, p.starts_at, p.ends_at) for p in periods)
    cut = frozenset(p.starts_at for p in periods if p.cuts_shares)
    return Calendar(zone, known, periods[0].time_zone, cut)
