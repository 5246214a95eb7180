"""Who waits for whom: what one writer would do on what another has not committed yet."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from billing.actions.grants import apply_decisions
from billing.actions.rating import rate_due
from billing.models import HourHead
from tenants.actions import changes
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tenants.models import ChangeRequest
from tests.billing.books import NOVEMBER, set_account
from tests.billing.factories import HOUR, NOW, load, make_prices, usage
from tests.billing.granted import ask, fresh
from tests.billing.test_beside import until_one_waits

pytestmark = pytest.mark.django_db(transaction=True)


def beside(act, found):
    def run():
        try:
            found.append(act())
        except Exception as error:  # noqa: BLE001  # told by the main thread
            found.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_no_account_leaves_the_currency_of_a_credit_that_is_being_approved(fin, vic, acme):
    grant = ask(fin, acme)
    with fleet_scope():
        change = ChangeRequest.objects.get(pk=grant.change_id)
        changes.decide(vic, change.pk, digest=change.digest, approve=True, why="seen")
    found = []
    with transaction.atomic():
        assert apply_decisions(NOVEMBER) == 1
        worker = beside(lambda: set_account(acme, currency="EUR", rate_source="ECB"), found)
        worker.join(2)
    worker.join()
    assert fresh(grant).state == "active"
    assert [type(end) for end in found] == [Invalid]
    assert "USD of credits are left" in str(found[0])


def test_prices_that_begin_to_hold_touch_hours_in_the_order_of_the_roll_up(acme, gateway):
    """It would hold the first hour and ask for the second, which waits for the first."""
    make_prices()
    first, second = HOUR - timedelta(hours=5), HOUR - timedelta(hours=2)
    for hour in (second, first):  # the order in which they are stored is not that of time
        load(gateway, usage(acme, at=hour + timedelta(minutes=5)))
    make_prices(starts_at=first - timedelta(days=1))
    found = []
    with fleet_scope():
        heads = HourHead.objects.filter(tenant_id=acme.pk)
        list(heads.filter(hour=first).select_for_update(no_key=True))
        worker = beside(lambda: rate_due(NOW, early=True), found)
        until_one_waits()
        assert heads.filter(hour=second).select_for_update(no_key=True, skip_locked=True).exists()
    worker.join()
    assert found[0].hours == 2
