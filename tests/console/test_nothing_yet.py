"""Money pages of an installation without anything, and of a tenant that has used nothing."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from tenants.base.scope import fleet_scope
from tenants.models import Quota, RoleBinding, User
from tests.billing.factories import make_tenant
from tests.browser.registry_money import PAGES
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
OF_ROWS = ("/prices/list/",)  # without a price book there is none of its pages


def addresses():
    """Those that name no row."""
    found = {}
    for name, address in PAGES.items():
        try:
            found[name] = address(SimpleNamespace())
        except AttributeError:
            continue
    return {n: a for n, a in found.items() if not a.startswith(OF_ROWS)}


@pytest.fixture
def somebody(db):
    user = User.objects.create_user("fin@example.test", "a long password", name="Fin")
    with fleet_scope():
        for role in ("finance", "operator", "approver"):
            RoleBinding.objects.create(user=user, role=role)
    found = browser(user)
    found.raise_request_exception = False
    return found


@pytest.fixture
def acme(db):
    """Its budgets of money and tokens, one of nothing, and no request."""
    tenant = make_tenant("acme")
    with fleet_scope():
        for model, amount in (("", 10), ("chat", 0)):
            quota = Quota.objects.create(
                tenant=tenant, model=model, monthly_budget=Decimal(amount), monthly_tokens=0
            )
            Quota.objects.filter(pk=quota.pk).update(series=quota.pk)
    return tenant


def broken(client, end=""):
    found = {}
    for name, address in addresses().items():
        answer = client.get(address + end.replace("?", "&" if "?" in address else "?"))
        if answer.status_code not in (200, 404, 422):
            found[name] = (address, answer.status_code)
    return found


@pytest.mark.parametrize("end", ["", "?format=csv", "?format=json"])
def test_no_page_breaks_for_a_tenant_that_used_nothing(acme, somebody, end):
    assert len(addresses()) > 40
    assert broken(somebody, end) == {}


@pytest.mark.parametrize("end", ["", "?format=csv"])
def test_no_page_breaks_where_there_is_no_tenant(somebody, end):
    assert broken(somebody, end) == {}


@pytest.mark.parametrize("month", ["2020-02", "2998-12"])
def test_other_months_of_such_a_tenant_are_shown(acme, somebody, month):
    page = somebody.get(f"/billing/acme/?month={month}")
    assert page.status_code == 200
    for of in ("model", "application_id", "meter", "traffic_class", "release", "budgets"):
        answer = somebody.get(f"/billing/acme/?month={month}&format=csv&of={of}")
        assert answer.status_code == 200, of


def test_the_api_says_the_same(acme, somebody):
    for path in (
        "tenants/acme/billing", "tenants/acme/budgets", "billing-accounts/acme",
        "billing-accounts/acme/statement", "billing-periods?tenant=acme", "invoices?tenant=acme",
        "credits?tenant=acme", "commitments?tenant=acme", "spend-anomalies?tenant=acme",
        "costs/economics", "costs/units?by=release", "usage/completeness?tenant=acme",
        "journal/trial-balance?tenant=acme", "tenant-months",
    ):  # fmt: skip
        answer = somebody.get(f"/api/v1/{path}")
        assert answer.status_code == 200, (path, answer.content[:300])
