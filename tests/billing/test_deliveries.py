"""Exports on their way to a receiver: tries, their history, repeats, and whose they are."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.deliveries import (
    change_destination,
    create_destination,
    deliver_export,
    renew_secret,
)
from billing.actions.exports import request_export
from billing.actions.schedules import change_schedule, create_schedule
from billing.clients.delivery import key_of
from billing.drive import deliveries
from billing.drive.deliveries import deliver_due
from billing.drive.exports import run_due
from billing.models import ExportAttempt, ExportDelivery, ExportDestination
from billing.queries.deliveries import list_deliveries, list_destinations
from billing.queries.exports import open_export
from billing.rules.destinations import Target
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import AuditEvent
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.test_exports import END, START

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ALLOW_PRIVATE_DELIVERY = True


@pytest.fixture
def charged(acme, globex, gateway):
    make_prices()
    load(gateway, usage(acme), usage(globex))


def receiver_of(who, door, **changes):
    given = {"name": "Ledger", "url": door.url} | changes
    more = {name: given.pop(name) for name in ("tenant_id", "secret_key") if name in given}
    with scope_of(who):
        return create_destination(who, Target(**given), **more)


def ask(who, destination=None, **changes):
    given = {"format": "focus-1.4", "starts_at": START, "ends_at": END, "now": NOW}
    with scope_of(who):
        return request_export(
            who, **given | changes, destination_id=destination.pk if destination else None
        )


def sent(who, door, **changes):
    """A file that was made for a receiver, which nobody has tried to send yet."""
    destination, secret = receiver_of(who, door, **changes)
    job = ask(who, destination)
    assert run_due(NOW) == 1
    return job, secret


def history(who, job):
    with scope_of(who):
        (delivery,) = list_deliveries(who, job.pk)[:1]
        return delivery, [(a.part, a.status, a.why) for a in delivery.attempts.all()]


def signed(came, secret):
    said = f"{came.headers['webhook-id']}.{came.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key_of(secret), said + came.body, hashlib.sha256).digest()
    signatures = came.headers["webhook-signature"].split(" ")
    return "v1," + base64.b64encode(digest).decode() in signatures


@pytest.mark.usefixtures("charged")
def test_it_sends_the_file_and_its_manifest_last(fiona, door):
    job, secret = sent(fiona, door)
    assert deliver_due(NOW) == 1
    file, manifest = door.came
    with scope_of(fiona):
        artifact, data = open_export(fiona, job.pk)
        with data:
            assert file.body == data.read()
    assert json.loads(manifest.body)["sha256"] == artifact.sha256
    assert file.headers["x-export-sha256"] == artifact.sha256
    assert artifact.filename in file.headers["content-disposition"]
    assert signed(file, secret) and signed(manifest, secret)
    assert file.headers["idempotency-key"] != manifest.headers["idempotency-key"]
    delivery, tries = history(fiona, job)
    assert delivery.state == "delivered"
    assert tries == [("file", 204, ""), ("manifest", 204, "")]
    assert deliver_due(NOW + timedelta(days=1)) == 0


@pytest.mark.usefixtures("charged")
def test_it_puts_each_file_at_an_address_of_its_own(fiona, door):
    sent(fiona, door, method="PUT", url=door.url + "/")
    assert deliver_due(NOW) == 1
    file, manifest = door.came
    assert file.method == "PUT"
    assert file.path.startswith("/in/fleet-20261101-")
    assert manifest.path == file.path + ".manifest.json"


@pytest.mark.usefixtures("charged")
def test_it_tries_again_later_with_the_same_key_and_sends_no_part_twice(fiona, door):
    job, _ = sent(fiona, door)
    door.answers = [(503, {}), (204, {}), (500, {}), (204, {})]
    assert deliver_due(NOW) == 0
    assert deliver_due(NOW + timedelta(seconds=29)) == 0
    assert len(door.came) == 1, "it waits between tries"
    assert deliver_due(NOW + timedelta(seconds=30)) == 0  # the file, then a manifest that fails
    assert deliver_due(NOW + timedelta(seconds=90)) == 1
    keys = [c.headers["idempotency-key"].rpartition("-") for c in door.came]
    assert [part for *_, part in keys] == ["file", "file", "manifest", "manifest"]
    assert len({head for head, *_ in keys}) == 1
    _, tries = history(fiona, job)
    assert [status for _, status, _ in tries] == [503, 204, 500, 204]


@pytest.mark.usefixtures("charged")
def test_it_gives_up_after_ten_tries_and_says_why(fiona, door):
    job, _ = sent(fiona, door)
    door.answers = [(503, {})] * 10
    now = NOW
    for _ in range(12):
        deliver_due(now)
        now += timedelta(hours=5)
    delivery, tries = history(fiona, job)
    assert (delivery.state, len(tries), len(door.came)) == ("failed", 10, 10)
    assert delivery.why == "It answered 503"


@pytest.mark.usefixtures("charged")
def test_it_does_not_repeat_what_was_refused(fiona, door):
    job, _ = sent(fiona, door)
    door.answers = [(401, {})]
    deliver_due(NOW)
    delivery, _ = history(fiona, job)
    assert (delivery.state, delivery.look_again) == ("failed", None)


@pytest.mark.usefixtures("charged")
def test_a_person_sends_it_again_as_a_new_message(fiona, door):
    job, _ = sent(fiona, door)
    with scope_of(fiona), pytest.raises(Conflict, match="on its way to Ledger already"):
        deliver_export(fiona, job.pk, now=NOW)
    deliver_due(NOW)
    with scope_of(fiona):
        deliver_export(fiona, job.pk, now=NOW)
    assert deliver_due(NOW) == 1
    assert len({c.headers["idempotency-key"] for c in door.came}) == 4
    assert door.came[0].body == door.came[2].body


@pytest.mark.usefixtures("charged")
def test_a_file_of_the_folder_is_sent_when_somebody_says_where_to(fiona, door):
    destination, _ = receiver_of(fiona, door)
    job = ask(fiona)
    with scope_of(fiona), pytest.raises(Conflict, match="only a finished file"):
        deliver_export(fiona, job.pk, now=NOW, destination_id=destination.pk)
    run_due(NOW)
    assert deliver_due(NOW) == 0
    with scope_of(fiona):
        with pytest.raises(Invalid, match="Choose where to"):
            deliver_export(fiona, job.pk, now=NOW)
        deliver_export(fiona, job.pk, now=NOW, destination_id=destination.pk)
    assert deliver_due(NOW) == 1


@pytest.mark.usefixtures("charged")
def test_a_schedule_delivers_until_its_destination_is_taken_away(fiona, door):
    destination, _ = receiver_of(fiona, door)
    with scope_of(fiona):
        schedule = create_schedule(
            fiona, name="Daily", format="csv", local_time=NOW.time(), time_zone="UTC", now=NOW,
            destination_id=destination.pk,
        )  # fmt: skip
    tomorrow = NOW + timedelta(days=1)
    assert run_due(tomorrow) == 1
    assert deliver_due(tomorrow) == 1
    with scope_of(fiona):
        change_schedule(fiona, schedule.pk, expected=1, now=tomorrow, destination_id=0)
    assert run_due(tomorrow + timedelta(days=1)) == 1
    assert deliver_due(tomorrow + timedelta(days=1)) == 0


@pytest.mark.django_db(transaction=True)
def test_it_goes_on_where_a_killed_worker_stopped(acme, gateway, fiona, door, monkeypatch):
    """Killed after the receiver took the file, before anything was written down."""
    make_prices()
    load(gateway, usage(acme))
    job, _ = sent(fiona, door)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "_write_down", die)
        with pytest.raises(KeyboardInterrupt):
            deliver_due(NOW)
    assert deliver_due(NOW) == 0, "the dead worker's claim still holds"
    with fleet_scope():
        ExportDelivery.objects.update(claim_until=NOW)
    assert deliver_due(NOW) == 1
    keys = [c.headers["idempotency-key"] for c in door.came]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys) == 3


@pytest.mark.usefixtures("charged")
def test_it_drops_the_result_of_a_lost_claim(fiona, door, monkeypatch):
    job, _ = sent(fiona, door)
    real = deliveries.send

    def lose(message, **given):
        with fleet_scope():
            ExportDelivery.objects.update(claim=None)
        return real(message, **given)

    monkeypatch.setattr(deliveries, "send", lose)
    assert deliver_due(NOW) == 0
    delivery, tries = history(fiona, job)
    assert (delivery.state, tries, len(door.came)) == ("waiting", [], 1)


@pytest.mark.usefixtures("charged")
def test_it_sends_nothing_when_the_file_changed_or_went(fiona, door, settings):
    job, _ = sent(fiona, door)
    (file,) = settings.QM_EXPORTS_DIR.rglob("*.csv")
    file.write_bytes(b"other")
    deliver_due(NOW)
    delivery, _ = history(fiona, job)
    assert delivery.state == "failed" and "not those that were recorded" in delivery.why
    file.unlink()
    with scope_of(fiona):
        deliver_export(fiona, job.pk, now=NOW)
    deliver_due(NOW)
    assert "not on this machine any more" in history(fiona, job)[0].why
    assert door.came == []


@pytest.mark.usefixtures("charged")
def test_it_sends_nothing_inside_the_own_network(fiona, door, settings):
    job, _ = sent(fiona, door)
    settings.QM_ALLOW_PRIVATE_DELIVERY = False
    deliver_due(NOW)
    delivery, _ = history(fiona, job)
    assert delivery.state == "failed"
    assert door.came == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "http://example.com/"),
        ("url", "https://127.0.0.1/"),
        ("url", "https://[fd00::1]/"),
        ("url", "https://e.com/" + "x" * 2_000),
        ("name", " "),
        ("method", "GET"),
    ],
)
def test_it_refuses_a_receiver_that_cannot_be(fiona, door, settings, field, value):
    settings.QM_ALLOW_PRIVATE_DELIVERY = False
    with pytest.raises(Invalid) as refused:
        receiver_of(fiona, door, **{"url": "https://example.com/", field: value})
    assert list(refused.value.fields) == [field]


@pytest.mark.usefixtures("charged")
def test_it_keeps_the_secret_to_itself(fiona, door):
    destination, secret = receiver_of(fiona, door)
    with fleet_scope():
        row = ExportDestination.objects.get(pk=destination.pk)
        kept = str(list(AuditEvent.objects.values_list("after", flat=True)))
    assert secret.encode() not in bytes(row.sealed)
    assert secret not in kept
    with scope_of(fiona):
        _, renewed = renew_secret(fiona, destination.pk, expected=1, now=NOW)
        change_destination(fiona, destination.pk, Target("Other", door.url), expected=2)
    for now in (NOW, NOW + timedelta(days=1)):
        ask(fiona, destination)
        run_due(now)
        deliver_due(now)
    file, _, later, _ = door.came
    assert signed(file, renewed) and signed(file, secret), "for a day either is enough"
    assert signed(later, renewed) and not signed(later, secret)


@pytest.mark.usefixtures("charged")
def test_a_stranger_sends_nothing_and_sees_nothing(fiona, mallory, olga, globex, acme, door):
    destination, _ = receiver_of(fiona, door, tenant_id=acme.pk)
    job = ask(fiona, destination, tenant_id=acme.pk)
    run_due(NOW)
    with scope_of(mallory):
        assert not list_destinations(mallory).exists()
        with pytest.raises(NotFound):
            deliver_export(mallory, job.pk, now=NOW, destination_id=destination.pk)
        with pytest.raises(NotFound):
            renew_secret(mallory, destination.pk, expected=1, now=NOW)
    with scope_of(olga), pytest.raises(Forbidden):
        create_destination(olga, Target("x", door.url))
    theirs = ask(fiona, tenant_id=globex.pk)
    run_due(NOW)
    with scope_of(fiona), pytest.raises(Invalid, match="belongs to another tenant"):
        deliver_export(fiona, theirs.pk, now=NOW, destination_id=destination.pk)
    assert deliver_due(NOW) == 1


@pytest.mark.usefixtures("charged")
def test_history_is_never_changed(fiona, door):
    sent(fiona, door)
    deliver_due(NOW)
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute("UPDATE export_attempt SET status = 200")
    with fleet_scope():
        assert ExportAttempt.objects.count() == 2
