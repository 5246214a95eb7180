"""Billing periods come by themselves: one for each month of an account with usage or a fee."""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from billing.actions.rollup import LOCK as ROLL_UP_LOCK
from billing.models import BillingPeriod
from billing.queries.accounts import accounts_of
from billing.rules import periods as rules
from tenants.base.scope import fleet_scope
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.quotas import Month

LOCK = ROLL_UP_LOCK + 11  # of advisory locks
SPANS = """
SELECT t.id, (SELECT min(h.hour) FROM usage_hour_head h WHERE h.tenant_id = t.id),
    (SELECT min(p.starts_at) FROM billing_period p WHERE p.tenant_id = t.id),
    (SELECT max(p.ends_at) FROM billing_period p WHERE p.tenant_id = t.id),
    coalesce((SELECT p.time_zone FROM billing_period p WHERE p.tenant_id = t.id
        ORDER BY p.starts_at LIMIT 1), '')
FROM unnest(%s::bigint[]) AS t (id)
"""


def keep_periods(now: datetime) -> int:
    """Open the periods that began, for every tenant with usage. Returns how many.

    Usage that came in late for a time before the first period gets its periods as well.
    """
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return _open_missing(tenant_refs().values(), now) if cursor.fetchone()[0] else 0


def open_periods(tenants: Iterable[TenantRef], now: datetime) -> int:
    """The same for these tenants, in the transaction that is open, before it counts by months."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    return _open_missing(tenants, now)


def _open_missing(tenants: Iterable[TenantRef], now: datetime) -> int:
    accounts = accounts_of(list(tenants))
    opened = 0
    with connection.cursor() as cursor:
        cursor.execute(SPANS, [list(accounts)])
        for tenant_id, hour, first, last, first_zone in cursor.fetchall():
            zone = accounts[tenant_id].time_zone
            months = rules.missing_periods(
                hour, first, last, time_zone=zone, first_zone=first_zone, now=now
            )
            for month in months:
                is_before = first is not None and month.starts_at < first
                open_period(tenant_id, month, first_zone if is_before else zone)
            opened += len(months)
    return opened


def open_period(tenant_id: int, month: Month, zone: str) -> None:
    BillingPeriod.objects.create(
        tenant_id=tenant_id,
        name=month.name,
        time_zone=zone,
        starts_at=month.starts_at,
        ends_at=month.ends_at,
    )
