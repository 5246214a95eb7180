"""The check of the books by the worker: once a day, on a wish, kept, shown, and told of."""

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from billing.actions.reconciliations import request_check
from billing.drive.reconciliations import reconcile_due
from billing.models import ChargeDay, FinanceEvent, Reconciliation
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden
from tenants.models import AuditEvent
from tests.billing.factories import load, make_prices, usage

pytestmark = pytest.mark.django_db


@pytest.fixture
def now(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(gateway, usage(acme, at=now), now=now)
    return now


def damage():
    with fleet_scope():
        ChargeDay.objects.filter(meter="cached").delete()


def test_it_runs_once_a_day_by_itself_and_keeps_every_sum(now):
    assert reconcile_due(now) == 1
    assert reconcile_due(now + timedelta(hours=23)) == 0
    row = Reconciliation.objects.get()
    assert (row.state, row.wrong, row.requested_by) == ("done", 0, "")
    assert len(row.sums) > 50
    with fleet_scope():
        assert not FinanceEvent.objects.filter(kind="books.sums_differ").exists()
    assert reconcile_due(now + timedelta(hours=24, minutes=1)) == 1


def test_what_differs_is_told_once_with_its_names(now):
    damage()
    assert reconcile_due(now) == 1
    assert Reconciliation.objects.get().wrong == 3
    with fleet_scope():
        event = FinanceEvent.objects.get(kind="books.sums_differ")
    told = json.loads(event.payload)["data"]
    assert told["wrong"] == 3 and event.tenant_id is None
    assert f"{now:%Y-%m-%d} 00:00 UTC, acme, application" in told["sums"][0]


def test_somebody_asks_for_one_and_asks_again_while_it_waits(now, fiona, olga):
    with scope_of(fiona):
        first = request_check(fiona, now=now)
        assert request_check(fiona, now=now + timedelta(seconds=1)).pk == first.pk
        assert AuditEvent.objects.filter(verb="reconciliation.request").count() == 1
    assert reconcile_due(now) == 1
    with scope_of(olga), pytest.raises(Forbidden):
        request_check(olga, now=now)


def test_a_worker_that_dies_leaves_it_to_the_next(now, fiona, monkeypatch):
    with scope_of(fiona):
        request_check(fiona, now=now)

    def dies(*_args):
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("billing.drive.reconciliations.check_all", dies)
        with pytest.raises(OSError, match="gone"):
            reconcile_due(now)
    Reconciliation.objects.update(look_again=now)
    assert reconcile_due(now) == 1


@pytest.mark.parametrize("act", ["update", "delete"])
def test_what_was_found_stays(now, act):
    reconcile_due(now)
    found = Reconciliation.objects.all()
    with pytest.raises(DatabaseError, match="stays"), transaction.atomic():
        found.update(wrong=0) if act == "update" else found.delete()


def test_the_api_lists_them_and_takes_a_wish(now, finance, stranger):
    answer = finance("post", "reconciliations")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    reconcile_due(timezone.now())
    (row,) = finance.get("reconciliations")["results"]
    assert (row["state"], row["wrong"]) == ("done", 0)
    sums = finance.get(f"reconciliations/{row['id']}")["sums"]
    assert {"sentence", "left", "right", "wrong", "named"} == sums[0].keys()
    for method, path in ("get", "reconciliations"), ("post", "reconciliations"), ("get", "x"):
        path = path if path != "x" else f"reconciliations/{row['id']}"
        assert stranger(method, path).status_code in (403, 404)
    assert finance("get", "reconciliations/999").status_code == 404
