"""A budget that is raised or lowered within its month is told of by its new amount."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.budgets import keep_budgets
from billing.models import BudgetAlert
from tenants.base.scope import fleet_scope
from tenants.models import Quota
from tests.billing.factories import NOW, make_prices
from tests.billing.test_alerts import use
from tests.billing.test_budgets import make_budget

pytestmark = pytest.mark.django_db


def told():
    with fleet_scope():
        rows = BudgetAlert.objects.order_by("id").values_list("budget", "threshold")
        return [(int(budget), threshold) for budget, threshold in rows]


def set_budget(quota, amount):
    """As a new version of the quota: its counters go on, its series stays."""
    with fleet_scope():
        Quota.objects.filter(pk=quota.pk).update(superseded_at=NOW)
        return Quota.objects.create(
            tenant_id=quota.tenant_id, monthly_budget=Decimal(amount), series=quota.series,
            version=quota.version + 1,
        )  # fmt: skip


def test_a_raised_budget_warns_again_before_it_is_used_up(acme, gateway):
    make_prices()
    quota = make_budget(acme, "3")
    use(gateway, acme, 2)  # 3.00
    assert told() == [(3, 50), (3, 80), (3, 100)]
    quota = set_budget(quota, "6")
    keep_budgets(NOW)
    assert told()[3:] == [(6, 50)], "3.00 are half of it"
    use(gateway, acme, 2)
    assert told()[4:] == [(6, 80), (6, 100)]
    keep_budgets(NOW + timedelta(minutes=1))
    assert len(told()) == 6


def test_a_budget_that_goes_back_to_what_it_was_tells_nothing_twice(acme, gateway):
    make_prices()
    quota = make_budget(acme, "3")
    use(gateway, acme, 2)
    quota = set_budget(quota, "60")
    keep_budgets(NOW)
    set_budget(quota, "3")
    keep_budgets(NOW)
    assert told() == [(3, 50), (3, 80), (3, 100)]
