"""Events of finance: written with the fact, told to who asked, seen by whom they concern."""

import json

import pytest
from django.db import DatabaseError, transaction

from billing.actions import invoices
from billing.actions.credits import Given, issue_credit_note
from billing.actions.deliveries import create_destination, deliver_export
from billing.actions.exports import request_export
from billing.actions.invoices import issue_invoices
from billing.actions.webhooks import add_webhook, change_webhook, renew_secret, send_again
from billing.drive import deliveries, exports
from billing.drive.events import deliver_due
from billing.models import EventDelivery, FinanceEvent, Invoice
from billing.queries.events import list_deliveries, list_events, list_webhooks
from billing.rules.destinations import Target
from billing.rules.webhooks import KINDS, Kind, fault_of_kinds
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent
from tests.billing import factories
from tests.billing.books import NOVEMBER, OCTOBER, bill_month, close_month, spend
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.test_deliveries import signed
from tests.billing.test_exports import END, START

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ALLOW_PRIVATE_DELIVERY = True


@pytest.fixture
def spent(priced, acme, gateway):
    spend(gateway, acme, prompt_tokens=1_000_000)
    return acme


def hook(who, door, kinds=KINDS, tenant=None, path=""):
    with scope_of(who):
        return add_webhook(who, door.url + path, kinds, tenant_id=tenant.pk if tenant else None)


def told(door):
    """What came in: kind and data, in the order of events."""
    came = sorted(door.came, key=lambda c: int(c.headers["webhook-id"].split("_")[1]))
    return [(m["type"], m["data"]) for m in (json.loads(c.body) for c in came)]


def send_all(now=NOW):
    while deliver_due(now):
        pass


@pytest.mark.parametrize(
    ("kinds", "want"),
    [
        ([], "at least one"),
        (["invoice.issued", "invoice.paid"], "'invoice.paid'"),
        (["invoice.issued", "invoice.issued"], "once"),
        (["invoice.issued"], ""),
    ],
)
def test_it_says_what_is_wrong_with_kinds(kinds, want):
    fault = fault_of_kinds(kinds)
    assert want in fault and bool(fault) == bool(want)


def test_a_month_is_told_from_its_close_to_its_credit_note(spent, fiona, door):
    _, secret = hook(fiona, door)
    invoice = bill_month(spent, viewer=fiona)
    with scope_of(fiona):
        line = invoice.lines.order_by("-amount")[0]
        given = [Given(line.position, line.amount)]
        note = issue_credit_note(fiona, invoice.number, lines=given, why="An outage", now=NOVEMBER)
    send_all(NOVEMBER)
    assert all(signed(c, secret) for c in door.came)
    (_, closed), (_, issued), (_, credited) = told(door)
    assert [kind for kind, _ in told(door)] == [
        "period.closed", "invoice.issued", "credit_note.issued",
    ]  # fmt: skip
    assert (closed["tenant"], closed["period"]) == ("acme", "2026-10")
    assert closed["billed"].keys() == {"USD usage"}
    assert issued["number"] == invoice.number and issued["sha256"] == invoice.sha256
    assert issued["total"] == f"{invoice.total:.2f}" and issued["period"] == "2026-10"
    assert credited == {
        "tenant": "acme", "number": note.number, "invoice": invoice.number, "currency": "USD",
        "net": f"{note.net:.2f}", "tax": "0.00", "total": f"{note.total:.2f}",
        "sha256": note.sha256, "why": "An outage",
    }  # fmt: skip


def test_published_prices_are_told_to_the_operator_alone(fiona, acme, door):
    hook(fiona, door, path="/operator")
    hook(fiona, door, tenant=acme, path="/acme")
    make_prices()
    send_all()
    assert [(c.path, json.loads(c.body)["data"]["book"]) for c in door.came] == [
        ("/in/operator", "list")
    ]


def test_a_file_is_told_when_it_is_made_and_when_it_arrived(spent, fiona, door):
    hook(fiona, door, [k for k in KINDS if k.startswith("export.")], path="/told")
    given = {"starts_at": START, "ends_at": END, "now": NOW}
    with scope_of(fiona):
        receiver, _ = create_destination(fiona, Target("Ledger", door.url + "/files"))
        job = request_export(fiona, format="csv", destination_id=receiver.pk, **given)
        broken = request_export(fiona, format="ledger", **given)
    exports.run_due(NOW)
    assert deliveries.deliver_due(NOW) == 1
    with scope_of(fiona):
        deliver_export(fiona, job.pk, now=NOW)
    door.answers = [(410, {})]
    assert deliveries.deliver_due(NOW) == 0
    door.came.clear()
    send_all()
    assert [(kind, data["export_id"]) for kind, data in told(door)] == [
        ("export.published", job.pk),
        ("export.failed", broken.pk),
        ("export.delivered", job.pk),
        ("export.delivery_failed", job.pk),
    ]
    made, failed, delivered, undelivered = [data for _, data in told(door)]
    assert made["format"] == "csv" and len(made["sha256"]) == 64
    assert "accounts have no number" in failed["why"]
    assert delivered["destination"] == "Ledger" and "410" in undelivered["why"]


def test_nothing_is_told_of_what_did_not_happen(spent, fiona, door, monkeypatch):
    hook(fiona, door)
    period = close_month(spent)

    def breaks(*_args):
        raise OSError("the disk is full")

    monkeypatch.setattr(invoices, "export_billed", breaks)
    with pytest.raises(OSError, match="full"), scope_of(fiona):
        issue_invoices(fiona, period.pk, now=NOVEMBER)
    with fleet_scope():
        assert not Invoice.objects.exists()
        kinds = set(FinanceEvent.objects.values_list("kind", flat=True))
        assert "invoice.issued" not in kinds and "period.closed" in kinds


def test_a_receiver_gets_what_it_asked_for(spent, fiona, door):
    hook(fiona, door, ["invoice.issued"], path="/erp")
    bill_month(spent)
    send_all(NOVEMBER)
    assert [kind for kind, _ in told(door)] == ["invoice.issued"]


def test_a_change_holds_for_what_comes_and_a_new_secret_signs(spent, fiona, door):
    row, secret = hook(fiona, door, ["period.closed"])
    with scope_of(fiona):
        with pytest.raises(Stale):
            change_webhook(fiona, row.pk, row.url, ["invoice.issued"], expected=9)
        change_webhook(fiona, row.pk, row.url, ["invoice.issued"], expected=1)
        _, renewed = renew_secret(fiona, row.pk, expected=2, now=NOVEMBER)
    bill_month(spent)
    send_all(NOVEMBER)
    (came,) = door.came
    assert signed(came, renewed) and signed(came, secret), "for a day either is enough"
    assert json.loads(came.body)["type"] == "invoice.issued"
    with fleet_scope():
        verbs = AuditEvent.objects.filter(verb__startswith="webhook.").order_by("id")
        assert list(verbs.values_list("verb", flat=True)) == [
            "webhook.add", "webhook.change", "webhook.secret",
        ]  # fmt: skip
        assert "secret" not in verbs.first().after


@pytest.mark.parametrize("url", ["ftp://erp.example", "https://u:p@erp.example", "erp", "http://"])
def test_it_refuses_an_address_that_nothing_is_sent_to(fiona, url):
    with scope_of(fiona), pytest.raises(Invalid) as refusal:
        add_webhook(fiona, url, ["invoice.paid"])
    assert set(refusal.value.fields) == {"url", "kinds"}


def test_an_address_is_there_once_for_each_owner(fiona, acme, door):
    hook(fiona, door)
    hook(fiona, door, tenant=acme)
    for tenant in (None, acme):
        with pytest.raises(Conflict, match="this address already"):
            hook(fiona, door, tenant=tenant)


def test_a_tenants_people_see_their_own_and_strangers_nothing(spent, fiona, mallory, door):
    hook(fiona, door, path="/operator")
    row, _ = hook(fiona, door, tenant=spent, path="/acme")
    bill_month(spent)
    own = factories.viewer("finance", spent)
    with scope_of(own):
        assert [w.url for w in list_webhooks(own)] == [door.url + "/acme"]
        assert {d.webhook_id for d in list_deliveries(own)} == {row.pk}
        assert {e.kind for e in list_events(own)} == {Kind.PERIOD_CLOSED, Kind.INVOICE}
        with pytest.raises(Forbidden):
            renew_secret(own, row.pk, expected=1, now=NOW)
    with scope_of(mallory):
        assert not list_webhooks(mallory) and not list_deliveries(mallory)
        assert not list_events(mallory)
        with pytest.raises(NotFound):
            change_webhook(mallory, row.pk, row.url, ["invoice.issued"], expected=1)
    with fleet_scope():
        (delivery, *_) = EventDelivery.objects.filter(webhook=row)
    with scope_of(mallory), pytest.raises(NotFound):
        send_again(mallory, delivery.pk, now=NOW)


def test_what_happened_is_written_once(spent, gateway):
    load(gateway, usage(spent, at=OCTOBER), now=NOVEMBER)
    close_month(spent)
    with fleet_scope(), pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        FinanceEvent.objects.update(subject="another")
