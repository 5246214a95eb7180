"""Alerts of budgets: each threshold told once, signed, tried again, kept in a history."""

import base64
import hashlib
import hmac
import json
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction

from billing.actions.alerts import change_settings, fire
from billing.actions.budgets import keep_budgets
from billing.actions.webhooks import add_webhook, remove_webhook, send_again
from billing.clients.delivery import key_of
from billing.drive.events import NO_MAIL, deliver_due
from billing.models import BudgetAlert, EventDelivery, Webhook
from billing.queries.alerts import get_settings, list_alerts
from billing.queries.budgets import used_budgets
from billing.queries.events import list_deliveries
from billing.rules.alerts import faults_of_settings, thresholds_reached
from billing.rules.webhooks import PAUSES, Kind, next_try
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.queries.directory import budget_refs
from tests.billing import factories
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.receiver import receiver
from tests.billing.test_budgets import make_budget

pytestmark = pytest.mark.django_db
MILLION = {"completion_tokens": 1_000_000, "prompt_tokens": 0, "cached_tokens": 0}  # 1.50


@pytest.fixture(autouse=True)
def _private(settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = True


@pytest.fixture
def priced(db):
    make_prices()


def hook(fiona, tenant, door):
    with fleet_scope():
        return add_webhook(fiona, door.url, [Kind.BUDGET.value], tenant_id=tenant.pk)


def choose(fiona, tenant, *, thresholds=(50, 80, 100), mails=(), expected=0):
    with fleet_scope():
        return change_settings(
            fiona, tenant.slug, thresholds=thresholds, mails=mails, expected=expected
        )


def alerts(tenant):
    with fleet_scope():
        rows = BudgetAlert.objects.filter(tenant_id=tenant.pk).order_by("id")
        return [(a.period, a.threshold) for a in rows]


def deliveries():
    with fleet_scope():
        return list(EventDelivery.objects.order_by("id"))


def use(gateway, tenant, count=1, *, now=NOW):
    load(gateway, *(usage(tenant, at=now, **MILLION) for _ in range(count)), now=now)
    keep_budgets(now)


def test_it_names_the_thresholds_that_are_reached():
    assert thresholds_reached(Decimal(10), Decimal("4.999999"), (50, 80)) == []
    assert thresholds_reached(Decimal(10), Decimal(5), (50, 80)) == [50]
    assert thresholds_reached(Decimal(10), Decimal(30), (100, 50, 80, 300, 301)) == [
        50,
        80,
        100,
        300,
    ]
    assert thresholds_reached(Decimal(0), Decimal(30), (50,)) == []


def test_it_tries_for_a_day_and_then_gives_up():
    waits = [next_try(n, NOW) for n in range(1, len(PAUSES) + 2)]
    assert waits[0] == NOW + timedelta(seconds=5)
    assert waits[-1] is None
    assert sum(PAUSES, timedelta(0)) > timedelta(hours=24)


@pytest.mark.parametrize(
    ("field", "thresholds", "mails"),
    [
        ("thresholds", [50, 50], []),
        ("thresholds", [0], []),
        ("thresholds", [1_001], []),
        ("thresholds", list(range(1, 12)), []),
        ("mails", [50], ["nobody"]),
        ("mails", [50], ["a@b.example\nBcc: c@d.example"]),
        ("mails", [50], ["a@b.example", "a@b.example"]),
    ],
)
def test_it_refuses_settings_that_make_no_sense(field, thresholds, mails):
    assert set(faults_of_settings(thresholds, mails)) == {field}
    assert faults_of_settings([50, 110], ["a@b.example"]) == {}


def test_each_threshold_is_told_once_a_period(priced, acme, gateway):
    make_budget(acme, "3")
    use(gateway, acme)
    assert alerts(acme) == [("2026-11", 50)]
    keep_budgets(NOW)
    use(gateway, acme)
    assert alerts(acme) == [("2026-11", 50), ("2026-11", 80), ("2026-11", 100)]
    use(gateway, acme, now=NOW + timedelta(days=14))
    assert alerts(acme)[3:] == [("2026-12", 50)]
    assert deliveries() == [], "nobody asked to be told"


def test_budgets_of_tokens_are_told_beside_those_of_money(priced, acme, gateway, fiona, settings):
    settings.EMAIL_HOST = "mail.example"
    choose(fiona, acme, thresholds=(80,), mails=("money@acme.example",))
    make_budget(acme, "1.50", monthly_output_tokens=1_250_000, monthly_tokens=2_000_000)
    use(gateway, acme)
    with fleet_scope():
        told = {a.kind: (a.budget, a.spent, a.currency) for a in BudgetAlert.objects.all()}
    assert told == {
        "money": (Decimal("1.5"), Decimal("1.5"), "USD"),
        "output_tokens": (Decimal(1_250_000), Decimal(1_000_000), ""),
    }
    keep_budgets(NOW)
    assert len(alerts(acme)) == 2
    assert deliver_due(NOW) == 2
    (sent,) = (m for m in mail.outbox if "tokens" in m.subject)
    assert sent.subject == "80 % of the budget of output tokens of acme is spent"
    assert "1000000 of 1250000 output tokens were spent in 2026-11" in sent.body


def test_budgets_of_applications_are_told_apart(priced, acme, gateway):
    make_budget(acme, "100")
    make_budget(acme, "1.50", application=acme.app)
    use(gateway, acme)
    with fleet_scope():
        told = [
            json.loads(a.event.payload)["data"] for a in BudgetAlert.objects.order_by("threshold")
        ]
    assert [(t["application"], t["threshold_percent"]) for t in told] == [
        ("app", 50),
        ("app", 80),
        ("app", 100),
    ]


def test_a_webhook_gets_a_signed_message(priced, acme, gateway, fiona, door):
    row, secret = hook(fiona, acme, door)
    assert secret.startswith("whsec_") and secret.encode() not in bytes(row.secret)
    make_budget(acme, "3")
    use(gateway, acme)
    assert deliver_due(NOW) == 1
    assert deliver_due(NOW) == 0
    (came,) = door.came
    said = f"{came.headers['webhook-id']}.{came.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key_of(secret), said + came.body, hashlib.sha256).digest()
    assert came.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert json.loads(came.body) == {
        "type": "budget.threshold_reached",
        "timestamp": NOW.isoformat(),
        "data": {
            "tenant": "acme", "application": "", "model": "", "currency": "USD",
            "kind": "money", "period": "2026-11", "threshold_percent": 50,
            "budget": "3", "spent": "1.5",
        },
    }  # fmt: skip
    (done,) = deliveries()
    assert (done.state, done.tries, done.answered, done.look_again) == ("done", 1, 204, None)


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(priced, acme, gateway, fiona, door):
    hook(fiona, acme, door)
    door.answers = [(503, {}), (204, {})]
    make_budget(acme, "3")
    use(gateway, acme)
    assert deliver_due(NOW) == 1
    (row,) = deliveries()
    assert (row.state, row.answered, row.look_again) == ("waiting", 503, NOW + PAUSES[0])
    assert deliver_due(NOW + timedelta(seconds=4)) == 0
    assert deliver_due(NOW + PAUSES[0]) == 1
    assert deliveries()[0].state == "done"
    assert len({c.headers["webhook-id"] for c in door.came}) == 1
    assert len({c.body for c in door.came}) == 1


def test_it_gives_up_in_the_end_and_sends_again_when_asked(priced, acme, gateway, fiona, door):
    hook(fiona, acme, door)
    door.answers = [(500, {})] * (len(PAUSES) + 1)
    make_budget(acme, "3")
    use(gateway, acme)
    now = NOW
    while deliver_due(now):
        now = deliveries()[0].look_again or now
    (row,) = deliveries()
    assert (row.state, row.tries) == ("failed", len(PAUSES) + 1)
    with fleet_scope():
        send_again(fiona, row.pk, now=now)
    assert deliver_due(now) == 1
    assert [d.state for d in deliveries()] == ["failed", "done"]
    assert len({c.headers["webhook-id"] for c in door.came}) == 1


def test_a_refusal_that_no_try_heals_is_final(priced, acme, gateway, fiona, door):
    hook(fiona, acme, door)
    door.answers = [(410, {})]
    make_budget(acme, "3")
    use(gateway, acme)
    deliver_due(NOW)
    assert [(d.state, d.answered) for d in deliveries()] == [("failed", 410)]


def test_a_removed_receiver_gets_nothing(priced, acme, gateway, fiona, door):
    row, _ = hook(fiona, acme, door)
    make_budget(acme, "3")
    use(gateway, acme)
    with fleet_scope():
        remove_webhook(fiona, row.pk, now=NOW)
    deliver_due(NOW)
    assert door.came == []
    (found,) = deliveries()
    assert (found.state, found.why) == ("failed", "The receiver was removed")
    with fleet_scope(), pytest.raises(Conflict, match="add it again"):
        send_again(fiona, found.pk, now=NOW)


def test_mail_says_what_is_spent(priced, acme, gateway, fiona, settings):
    settings.EMAIL_HOST = "mail.example"
    choose(fiona, acme, thresholds=(80,), mails=("money@acme.example",))
    make_budget(acme, "1.50")
    use(gateway, acme)
    assert deliver_due(NOW) == 1
    (sent,) = mail.outbox
    assert sent.to == ["money@acme.example"]
    assert sent.subject == "80 % of the budget of acme is spent"
    assert "1.5 of 1.5 USD were spent in 2026-11" in sent.body
    assert "/billing/acme/alerts/" in sent.body
    assert deliveries()[0].state == "done"


def test_without_a_mail_server_it_says_so(priced, acme, gateway, fiona, settings):
    settings.EMAIL_HOST = ""
    assert not choose(fiona, acme, mails=("money@acme.example",)).mail_works
    make_budget(acme, "3")
    use(gateway, acme)
    deliver_due(NOW)
    assert [(d.state, d.why) for d in deliveries()] == [("failed", NO_MAIL)]
    assert mail.outbox == []


def test_settings_are_changed_by_who_saw_them(acme, fiona, olga):
    assert choose(fiona, acme, thresholds=(90, 10)).thresholds == (10, 90)
    with pytest.raises(Stale):
        choose(fiona, acme)
    assert choose(fiona, acme, thresholds=(70,), expected=1).version == 2
    with pytest.raises(Forbidden):
        choose(olga, acme, expected=2)


def test_it_sends_nowhere_inside(fiona, settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = False
    with fleet_scope(), pytest.raises(Invalid, match="https://"):
        add_webhook(fiona, "http://127.0.0.1/in", [Kind.BUDGET.value])


def test_an_address_is_there_once(acme, fiona, door):
    hook(fiona, acme, door)
    with pytest.raises(Conflict, match="go to this address already"):
        hook(fiona, acme, door)


def test_a_stranger_finds_nothing_and_the_tenants_people_read(
    priced, acme, gateway, fiona, door, mallory
):
    row, _ = hook(fiona, acme, door)
    make_budget(acme, "3")
    use(gateway, acme)
    with scope_of(mallory):
        assert not list_alerts(mallory) and not list_deliveries(mallory)
        with pytest.raises(NotFound):
            get_settings(mallory, acme.pk)
        with pytest.raises(NotFound):
            remove_webhook(mallory, row.pk, now=NOW)
    own = factories.viewer("finance", acme)
    with scope_of(own):
        assert list_alerts(own).count() == 1
        with pytest.raises(Forbidden):
            remove_webhook(own, row.pk, now=NOW)


def test_what_was_reached_is_written_once(priced, acme, gateway):
    make_budget(acme, "3")
    use(gateway, acme)
    with fleet_scope(), pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        BudgetAlert.objects.update(threshold=1)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_tell_it_once(gateway, fiona):
    make_prices()
    acme = factories.make_tenant("acme")
    make_budget(acme, "1.50")
    with receiver() as door:
        hook(fiona, acme, door)
        load(gateway, usage(acme, at=NOW, **MILLION))
        gate, faults = threading.Barrier(4), []

        def work():
            gate.wait()
            try:
                with fleet_scope():
                    fire(used_budgets(budget_refs(), NOW), NOW)
                deliver_due(NOW)
            except Exception as error:  # noqa: BLE001  # told by the main thread
                faults.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deliver_due(NOW)
        assert faults == []
        assert len({c.headers["webhook-id"] for c in door.came}) == len(door.came) == 3
    with fleet_scope():
        assert Webhook.objects.count() == 1
