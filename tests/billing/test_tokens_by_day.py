"""Forecasts of tokens know the tenant's days, as its budgets and its bill do."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.queries.budgets import tenant_budgets
from tenants.base.scope import fleet_scope
from tenants.models import Quota
from tenants.queries.directory import tenant_refs
from tests.billing.factories import SYSTEM, load, make_tenant, usage

HOUR = timedelta(hours=1)
A_MONTH = 31 * 24 * 100  # tokens, at a hundred in each hour


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("UTC", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),
        ("Asia/Tokyo", datetime(2026, 12, 1, 0, 30, tzinfo=UTC)),  # 9:30 there
        ("America/Los_Angeles", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),  # 1:30 there
    ],
)
def test_a_steady_month_is_expected_to_go_on_from_its_first_hours_on(gateway, zone, now):
    tenant = make_tenant("steady", time_zone=zone)
    with fleet_scope():
        quota = Quota.objects.create(tenant=tenant, monthly_tokens=2 * A_MONTH)
        Quota.objects.filter(pk=quota.pk).update(series=quota.pk)
    amounts = {"prompt_tokens": 90, "cached_tokens": 0, "completion_tokens": 10}
    hours = (now - n * HOUR for n in range(10 * 24))
    load(gateway, *(usage(tenant, at=at, **amounts) for at in hours), now=now)
    with fleet_scope():
        ref = tenant_refs([tenant.pk])[tenant.pk]
        (budget,) = tenant_budgets(SYSTEM, ref, now=now)
    assert budget.ahead is not None
    assert abs(budget.ahead.amount - A_MONTH) < A_MONTH // 20
    assert budget.ahead.runs_out is None
