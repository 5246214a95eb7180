"""A receiver that is slow or silent holds up its own messages, and nobody else's."""

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from billing.actions.events import tell
from billing.actions.webhooks import add_webhook
from billing.clients import delivery
from billing.clients.delivery import Answer, Message, make_secret, send
from billing.drive import deliveries, events
from billing.drive.exports import run_due
from billing.drive.turns import next_turns
from billing.models import EventDelivery, ExportDelivery
from billing.rules.webhooks import Kind
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope
from tests.billing.factories import NOW, SYSTEM, load, make_prices, usage
from tests.billing.test_deliveries import ask, receiver_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _private(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ALLOW_PRIVATE_DELIVERY = True


@contextmanager
def dripping():
    """A server that answers a byte now and then, and never comes to an end."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def drip():
        try:
            came, _ = listening.accept()
        except OSError:
            return
        with came:
            came.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.1):
                try:
                    came.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/in"
    finally:
        over.set()
        listening.close()
        thread.join()


def test_a_receiver_that_drips_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(delivery, "SHORTEST", 1.0)
    message = Message("", "k-1", make_secret(bytes(32)), b"{}", "application/json")
    with dripping() as url:
        began = time.monotonic()
        now = datetime(2026, 11, 20, tzinfo=UTC)
        answer = send(
            Message(url, message.key, message.secret, b"{}", message.content_type),
            now=now,
            allow_private=True,
        )
        assert time.monotonic() - began < 10
    assert not answer.taken and not answer.is_final
    assert "1 s" in answer.why


def told(tenant, path, count):
    with fleet_scope():
        url = f"https://{path}.example.com/in"
        add_webhook(SYSTEM, url, [Kind.INVOICE], tenant_id=tenant.pk)
        for n in range(count):
            tell(Kind.INVOICE, f"INV-{n}", {}, tenant_id=tenant.pk, now=NOW)


@pytest.fixture
def tried(monkeypatch):
    """Whose receiver was tried, in the order; that of acme never answers."""
    urls = []

    def answered(message, **_given):
        urls.append(message.url.split("//")[1].partition(".")[0])
        return Answer(None, "ReadTimeout") if "acme" in message.url else Answer(204)

    monkeypatch.setattr(events, "send", answered)
    monkeypatch.setattr(deliveries, "send", answered)
    return urls


def test_a_silent_receiver_with_many_messages_holds_up_no_other_tenant(acme, globex, tried):
    told(acme, "acme", 30)
    told(globex, "globex", 3)
    assert events.deliver_due(NOW) > 0
    assert tried.count("acme") == 1, "it is silent: the others of it wait"
    assert tried.count("globex") == 3
    with fleet_scope():
        waiting = EventDelivery.objects.filter(tenant_id=acme.pk, state="waiting")
        assert waiting.count() == 30
    events.deliver_due(NOW)
    assert tried.count("acme") == 2, "a pass later the next one is tried"


def test_one_worker_at_a_time_sends_what_is_for_one_tenant(acme, globex, tried):
    """Else as many workers wait for a silent receiver as there are."""
    told(acme, "acme", 3)
    told(globex, "globex", 1)
    with fleet_scope():
        held = EventDelivery.objects.filter(tenant_id=acme.pk).earliest("id")
    with claimed(EventDelivery, held.pk):
        events.deliver_due(NOW)
    assert tried == ["globex"]


def test_a_worker_that_looked_at_the_same_time_leaves_the_line_to_the_first(
    acme, globex, tried, monkeypatch
):
    told(acme, "acme", 3)
    told(globex, "globex", 1)
    with fleet_scope():
        waiting = EventDelivery.objects.filter(state="waiting")
        seen = next_turns(waiting, NOW, receiver="webhook_id", most=20)
    assert len(seen) == 4
    monkeypatch.setattr(events, "next_turns", lambda *_args, **_more: seen)
    with claimed(EventDelivery, seen[0].id):
        events.deliver_due(NOW)
    assert tried == ["globex"]


def test_a_silent_receiver_of_files_holds_up_no_other(acme, globex, gateway, fiona, door, tried):
    make_prices()
    load(gateway, usage(acme), usage(globex))
    for tenant, count in ((acme, 25), (globex, 1)):
        url = f"https://{tenant.slug}.example.com/in"
        destination, _ = receiver_of(fiona, door, url=url, tenant_id=tenant.pk)
        for _ in range(count):
            ask(fiona, destination, tenant_id=tenant.pk, format="csv")
    while run_due(NOW):
        pass
    with fleet_scope():
        assert ExportDelivery.objects.count() == 26
    assert deliveries.deliver_due(NOW) == 1
    assert tried.count("acme") == 1
    assert tried.count("globex") == 2
