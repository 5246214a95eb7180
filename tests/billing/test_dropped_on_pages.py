"""What pages say of requests whose day was really dropped: the list, one of them, and the trail."""

from datetime import timedelta

import pytest

from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import DroppedDay, UsageEvent
from tenants.base.scope import fleet_scope
from tenants.models import RoleBinding, User
from tests.billing.books import close_month, spend
from tests.billing.test_pruning import named_at
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def at(old_noon):
    return old_noon


@pytest.fixture
def request_id(acme, gateway, priced, at, settings):
    """Of a request of a closed month, dropped with its day."""
    settings.QM_USAGE_MONTHS = 3
    name = named_at(at)
    spend(gateway, acme, at=at, request_id=name)
    close_month(acme, f"{at:%Y-%m}", now=at + 60 * DAY)
    reconcile_due(at + 200 * DAY)
    assert drop_parts(at + 200 * DAY) >= 1
    with fleet_scope():
        assert not UsageEvent.objects.exists()
    return name


@pytest.fixture
def finance(request_id):
    with fleet_scope():
        user = User.objects.create(email="finance@example.test")
        RoleBinding.objects.create(user=user, role="finance")
    return browser(user)


def digest_of(at):
    with fleet_scope():
        return DroppedDay.objects.get(day=at.date()).sha256


def test_the_list_says_which_days_it_lacks_and_by_which_rule(finance, request_id, at):
    span = f"from={at - DAY:%Y-%m-%dT%H:%M}&to={at + DAY:%Y-%m-%dT%H:%M}"
    for query in (span, f"{span}&tenant=acme", f"request_id={request_id}"):
        page = finance.get(f"/requests/?{query}").content.decode()
        assert 'id="dropped"' in page, query
        assert "QM_USAGE_MONTHS" in page
        assert (digest_of(at)[:12] in page) == ("tenant=acme" in query)  # else that of all
    other = finance.get(f"/requests/?from={at - 3 * DAY:%Y-%m-%d}&to={at - 2 * DAY:%Y-%m-%d}")
    assert 'id="dropped"' not in other.content.decode()


def test_one_of_them_is_told_to_be_gone_and_not_to_have_never_been(finance, request_id):
    answer = finance.get(f"/requests/{request_id}/")
    assert answer.status_code == 404
    assert "QM_USAGE_MONTHS" in answer.content.decode()


def test_the_trail_ends_at_its_hour_with_the_reason(finance, request_id, at):
    page = finance.get(f"/billing/acme/?month={at:%Y-%m}").content.decode()
    assert 'id="trail"' in page
    assert "in 1 paid request<" in page
    assert "QM_USAGE_MONTHS" in page
    assert digest_of(at)[:12] in page
