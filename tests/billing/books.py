"""Months of usage whose books can be closed: what tests of periods and invoices begin with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.actions.accounts import change_account
from billing.actions.calendars import keep_periods
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.models import BillingPeriod, EngineHour, ServiceHour
from billing.queries.accounts import get_account
from billing.rules.invoices import Tax
from tenants.base.scope import fleet_scope
from tests.billing.factories import SYSTEM, load, usage

OCTOBER = datetime(2026, 10, 10, 9, 30, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
GRACE = timedelta(hours=24)
# Of a million tokens: nothing that they are multiplied with comes out even.
ODD_PRICES = {
    "chat": {
        "prompt": Decimal("1234.567"),
        "cached": Decimal("333.33"),
        "completion": Decimal("7777.777"),
    }
}


def spend(gateway, tenant, *, at=OCTOBER, now=None, **changes):
    """One request that ended at `at`, rated."""
    load(gateway, usage(tenant, at=at, **changes), now=now or at)


def find_period(tenant, name="2026-10"):
    return BillingPeriod.objects.get(tenant_id=tenant.pk, name=name)


def engines_agree():
    """Every service's engines counted what gateways metered, hour by hour, so far."""
    sums = ServiceHour.objects.all()
    EngineHour.objects.bulk_create(
        (
            EngineHour(
                hour=kept.hour,
                service_id=kept.service_id,
                prompt_tokens=kept.prompt_tokens,
                completion_tokens=kept.completion_tokens,
                engines=1,
            )
            for kept in sums
        ),
        update_conflicts=True,
        unique_fields=["hour", "service_id"],
        update_fields=["prompt_tokens", "completion_tokens"],
    )


def close_month(tenant, name="2026-10", *, now=NOVEMBER, viewer=SYSTEM):
    """Open what began, then close one month, whose checks are green."""
    keep_periods(now)
    engines_agree()
    with fleet_scope():
        period = find_period(tenant, name)
        start_closing(viewer, period.pk, now=now)
        return close(viewer, period.pk, now=now, grace=GRACE)


def bill_month(tenant, name="2026-10", *, now=NOVEMBER, viewer=SYSTEM):
    """Close it and issue its one invoice."""
    period = close_month(tenant, name, now=now, viewer=viewer)
    with fleet_scope():
        (invoice,) = issue_invoices(viewer, period.pk, now=now)
    return invoice


def set_account(tenant, **changes):
    with fleet_scope():
        old = get_account(SYSTEM, tenant.slug)
        terms = replace(old.chosen, **changes)
        return change_account(SYSTEM, tenant.slug, terms, expected=old.version)


def tax(name, rate):
    return Tax(name, Decimal(rate))
