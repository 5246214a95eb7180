"""The ingest door: every event once, bad ones kept apart, nothing guessed."""

import json
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.ingest import BatchRefused, BatchTooLarge, ingest
from billing.models import HourMark, UsageEvent, UsageQuarantine
from fleet.models import AdapterUse
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.errors import Forbidden
from tests.billing.factories import HOUR, NOW, batch, cloud, usage

pytestmark = pytest.mark.django_db


def count(model):
    with fleet_scope():
        return model.objects.count()


def test_it_stores_what_was_reported(acme, gateway):
    data = usage(acme, modifiers=["max_tokens_capped"], limit_versions=[3, 9], itl_p95_ms=31.5)
    receipt = ingest(gateway, batch(data), now=NOW)
    assert (receipt.accepted, receipt.duplicates, receipt.quarantined) == (1, 0, ())
    with fleet_scope():
        row = UsageEvent.objects.get()
    for name in set(data) - {"schema", "request_id", "started_at", "finished_at"}:
        assert getattr(row, name) == data[name], name
    assert str(row.request_id) == data["request_id"]
    assert row.event_time == NOW
    assert row.event_time - row.started_at == timedelta(milliseconds=800)


def test_usage_of_an_adapter_is_under_its_name_and_its_tenant_is_counted_once(acme, gateway):
    body = batch(usage(acme), usage(acme, model="polite", adapter="polite"))
    for _ in range(2):
        ingest(gateway, body, now=NOW)
    with fleet_scope():
        assert sorted(UsageEvent.objects.values_list("model", flat=True)) == ["chat", "polite"]
        (use,) = AdapterUse.objects.all()
    assert (use.adapter, use.tenant_id, use.service_id, use.requests) == ("polite", acme.pk, 1, 1)
    assert use.day == NOW.date()


def test_it_changes_nothing_when_a_batch_comes_again(acme, gateway):
    body = batch(*[usage(acme) for _ in range(20)])
    assert ingest(gateway, body, now=NOW).accepted == 20
    marks = count(HourMark)
    again = ingest(gateway, body, now=NOW)
    assert (again.accepted, again.duplicates) == (0, 20)
    assert count(UsageEvent) == 20
    assert count(HourMark) == marks


def test_it_counts_a_double_inside_one_batch_once(acme, gateway):
    data = usage(acme)
    receipt = ingest(gateway, batch(data, data), now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (1, 1)


@pytest.mark.parametrize("together", [True, False])
def test_it_never_overwrites_an_id_with_another_content(acme, gateway, together):
    first = usage(acme)
    other = first | {"completion_tokens": 9_999}
    bodies = [batch(first, other)] if together else [batch(first), batch(other)]
    receipt = [ingest(gateway, body, now=NOW) for body in bodies][-1]
    assert [r.reason for r in receipt.quarantined] == ["conflict"]
    with fleet_scope():
        assert UsageEvent.objects.get().completion_tokens == 30


def test_it_marks_each_hour_of_each_tenant_once_a_batch(acme, globex, gateway):
    late = NOW - timedelta(hours=1)
    body = batch(usage(acme), usage(acme), usage(acme, at=late), usage(globex))
    ingest(gateway, body, now=NOW)
    with fleet_scope():
        marks = set(HourMark.objects.values_list("hour", "tenant_id"))
    assert marks == {(HOUR, acme.pk), (HOUR - timedelta(hours=1), acme.pk), (HOUR, globex.pk)}


BAD = {
    "a number as text": ({"prompt_tokens": "100"}, "bad_schema"),
    "a fraction of a token": ({"prompt_tokens": 1.5}, "bad_schema"),
    "a negative count": ({"completion_tokens": -1}, "bad_schema"),
    "a count that no integer column holds": ({"completion_tokens": 2**70}, "bad_schema"),
    "more cached than prompt": ({"cached_tokens": 101}, "bad_schema"),
    "an outcome that is not in the list": ({"outcome": "fine"}, "bad_schema"),
    "a class that is not in the list": ({"traffic_class": "gold"}, "bad_schema"),
    "a text with NUL": ({"model": "a\0b"}, "bad_schema"),
    "a model name without end": ({"model": "m" * 129}, "bad_schema"),
    "an end before the start": ({"finished_at": 5}, "bad_schema"),
    "a negative time": ({"ttft_ms": -1.0}, "bad_schema"),
    "another version of the schema": ({"schema": 2}, "bad_schema"),
    "an id of no request": ({"request_id": "7"}, "bad_schema"),
    "a tenant that is not": ({"tenant_id": 999_999}, "unknown_tenant"),
    "an application that is not": ({"application_id": 999_999}, "unknown_application"),
}


@pytest.mark.parametrize("case", BAD)
def test_it_puts_a_bad_event_aside_and_goes_on(acme, gateway, case):
    change, reason = BAD[case]
    receipt = ingest(gateway, batch(usage(acme) | change, usage(acme)), now=NOW)
    assert receipt.accepted == 1
    assert [r.reason for r in receipt.quarantined] == [reason]
    with fleet_scope():
        assert UsageQuarantine.objects.get().reason == reason


def test_it_puts_another_tenants_application_aside(acme, globex, gateway):
    receipt = ingest(gateway, batch(usage(acme, application_id=globex.app.pk)), now=NOW)
    assert [r.reason for r in receipt.quarantined] == ["unknown_application"]


@pytest.mark.parametrize(
    ("shift", "reason"),
    [(timedelta(minutes=6), "future"), (-timedelta(days=63), "too_late")],
)
def test_it_puts_impossible_times_aside(acme, gateway, shift, reason):
    receipt = ingest(gateway, batch(usage(acme, at=NOW + shift)), now=NOW)
    assert [r.reason for r in receipt.quarantined] == [reason]


def test_it_keeps_a_bad_event_once_however_often_it_comes(acme, gateway):
    body = batch(usage(acme, tenant_id=999_999))
    for _ in range(3):
        assert len(ingest(gateway, body, now=NOW).quarantined) == 1
    assert count(UsageQuarantine) == 1


@pytest.mark.parametrize("name", ["id", "data", "prompt_tokens"])
def test_it_refuses_a_key_that_stands_twice(acme, gateway, name):
    text = json.dumps(cloud(usage(acme)))
    twice = text.replace(f'"{name}":', f'"{name}": 1, "{name}":', 1)
    if name == "data":
        twice = text[:-1] + ', "data": ' + json.dumps(usage(acme)) + "}"
    if name == "id":
        twice = text.replace('"id":', '"id": "x", "id":', 1)
    receipt = ingest(gateway, f"[{twice}]".encode(), now=NOW)
    assert [r.reason for r in receipt.quarantined] == ["bad_schema"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[", b"null", b'[{"id": 1},]', b"\xff\xfe[]", b"[" * 100_000, b'"text"'],
)
def test_it_refuses_a_body_that_is_no_batch(gateway, body):
    with pytest.raises(BatchRefused):
        ingest(gateway, body, now=NOW)


@pytest.mark.parametrize("item", ["1", "null", "[]", "{}", '"x"', '{"id": {"a": 1}}'])
def test_it_puts_an_item_that_is_no_event_aside(gateway, item):
    receipt = ingest(gateway, f"[{item}]".encode(), now=NOW)
    assert [r.reason for r in receipt.quarantined] == ["bad_schema"]


def test_it_refuses_more_than_ten_thousand_at_once(gateway):
    with pytest.raises(BatchTooLarge):
        ingest(gateway, b"[" + b",".join([b"{}"] * 10_001) + b"]", now=NOW)


def test_it_serves_only_usage_sources(acme, olga):
    with pytest.raises(Forbidden):
        ingest(olga, batch(usage(acme)), now=NOW)


def test_it_shows_usage_only_to_its_tenant(acme, globex, gateway):
    ingest(gateway, batch(usage(acme)), now=NOW)
    with tenant_scope(globex.pk):
        assert not UsageEvent.objects.exists()
    with tenant_scope(acme.pk):
        assert UsageEvent.objects.count() == 1


@pytest.mark.parametrize("sql", ["UPDATE usage_event SET gpu_ms = 0", "DELETE FROM usage_event"])
def test_it_keeps_usage_as_it_came(acme, gateway, sql):
    ingest(gateway, batch(usage(acme)), now=NOW)
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(sql)


@pytest.mark.django_db(transaction=True)
def test_it_takes_the_same_events_from_two_writers_once(acme, globex, gateway):
    """Both send all events, in opposite orders: the second waits, finds them, and never locks."""
    data = [usage(acme if i % 2 else globex) for i in range(2_000)]
    bodies = [batch(*data), batch(*reversed(data))]
    found = []

    def send(body):
        try:
            for start in range(3):
                receipt = ingest(gateway, body, now=NOW + timedelta(seconds=start))
                found.append((receipt.accepted, receipt.duplicates))
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=[body]) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert sum(accepted for accepted, _ in found) == 2_000
    assert count(UsageEvent) == 2_000


@pytest.mark.django_db(transaction=True)
def test_it_stores_all_or_nothing_when_a_writer_dies(acme, gateway, monkeypatch):
    """The transaction ends with the writer; the same batch sent again is stored as a whole."""

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    body = batch(*[usage(acme) for _ in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr("billing.actions.ingest._keep_bad", die)
        with pytest.raises(KeyboardInterrupt):
            ingest(gateway, body, now=NOW)
    assert (count(UsageEvent), count(HourMark)) == (0, 0)
    assert ingest(gateway, body, now=NOW).accepted == 10


def test_it_tells_the_traffic_statistics_only_what_is_new(acme, gateway, monkeypatch):
    told = Counter()
    monkeypatch.setattr(
        "fleet.actions.traffic.record",
        lambda samples, now: told.update(s.outcome for s in samples),
    )
    body = batch(usage(acme), usage(acme, outcome="shed", service_id=None, ttft_ms=None))
    ingest(gateway, body, now=NOW)
    ingest(gateway, body, now=NOW)
    assert told == {"served": 1, "shed": 1}
