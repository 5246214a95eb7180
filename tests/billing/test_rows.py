"""What is written by hand for COPY and for arrays arrives as it was."""

import uuid
from datetime import timedelta
from types import SimpleNamespace

import msgspec
import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing.actions.ingest import ingest
from billing.models import UsageEvent, UsageSeen
from billing.rules.events import Accepted, Reason, Refused, read_event
from gateway.contract.usage import UsageEvent as Reported
from gateway.metering import CloudEvent
from tenants.base.arrays import array
from tenants.base.scope import fleet_scope
from tests.billing.factories import NOW, usage

SOMEBODY = SimpleNamespace(pk=1, app=SimpleNamespace(pk=2))
texts = st.text(
    st.one_of(
        st.sampled_from("\\\t\n\r\"{},;'NN. \x01\x7f\u2028\x85"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=12,
)
NAMES = ("model", "release", "cluster", "pod", "reason", "rerouted_from", "finish_reason", "worker")
millis = st.none() | st.floats(0, 1e9)


def written(data):
    """As a gateway writes it."""
    event = msgspec.convert(data, Reported)
    found = CloudEvent(
        id=event.request_id, source="gateway/w0", time="2026-11-20T12:30:00Z", data=event
    )
    return msgspec.json.encode(found)


@pytest.mark.django_db
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    said=st.fixed_dictionaries({name: texts for name in NAMES}),
    modifiers=st.lists(texts, max_size=3),
    versions=st.lists(st.integers(0, 2**53), max_size=3),
    ttft=millis,
    service=st.none() | st.integers(0, 2**53),
)
@example(
    said=dict.fromkeys(NAMES, "\\N"),
    modifiers=["\\.", '"', ""],
    versions=[],
    ttft=0.1,
    service=None,
)
@example(said=dict.fromkeys(NAMES, "\\"), modifiers=[], versions=[7], ttft=1e-7, service=0)
def test_it_stores_every_text_and_number_as_it_was_said(
    acme, gateway, said, modifiers, versions, ttft, service
):
    data = usage(acme) | said | {"modifiers": modifiers, "limit_versions": versions}
    data |= {"request_id": str(uuid.uuid4()), "ttft_ms": ttft, "service_id": service}
    receipt = ingest(gateway, b"[" + written(data) + b"]", now=NOW)
    assert receipt.accepted == 1, receipt
    with fleet_scope():
        row = UsageEvent.objects.get(request_id=data["request_id"])
    wanted = data | {"modifiers": list(modifiers)}
    for name in set(data) - {"schema", "request_id", "started_at", "finished_at"}:
        assert getattr(row, name) == wanted[name], name
    assert (row.event_time, row.started_at) == (NOW, NOW - timedelta(milliseconds=800))


@pytest.mark.django_db
@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=6), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_an_array_is_read_as_it_was_written(words, numbers):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[], %s::bigint[]", [array(words), array(numbers)])
        assert cursor.fetchone() == (words, numbers)


@pytest.mark.django_db
def test_of_a_batch_of_old_and_new_only_the_new_is_stored(acme, globex, gateway):
    old, other, new = [usage(acme), usage(globex)], usage(acme), [usage(acme), usage(globex)]
    ingest(gateway, b"[" + b",".join(map(written, [*old, other])) + b"]", now=NOW)
    mixed = [new[0], *old, other | {"gpu_ms": 1}, new[1]]
    receipt = ingest(gateway, b"[" + b",".join(map(written, mixed)) + b"]", now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (2, 2)
    assert [(r.event_id, r.reason) for r in receipt.quarantined] == [
        (other["request_id"], Reason.CONFLICT)
    ]
    with fleet_scope():
        assert UsageEvent.objects.count() == UsageSeen.objects.count() == 5


def test_a_key_that_stands_twice_is_found_in_what_a_gateway_wrote():
    raw = written(usage(SOMEBODY))
    assert isinstance(read_event(raw, NOW), Accepted)
    data = raw[raw.index(b'"data":') :]
    again = data[:-1].replace(b'"data":{', b'"data":{"gpu_ms":5,', 1)
    for doubled in (
        raw.replace(b'"data":{', b'"data":{"gpu_ms":5,', 1),
        raw.replace(b'{"specversion"', b'{"time":"2026-11-20T12:30:00Z","specversion"', 1),
        raw.replace(b'{"specversion"', b'{"time" :"2026-11-20T12:30:00Z","specversion"', 1),
        raw.replace(b'{"specversion"', b"{" + data[:-1] + b',"specversion"', 1),
        raw.replace(b'{"specversion"', b"{" + again + b',"specversion"', 1),
        raw.replace(b'{"specversion"', b'{"more":{"a":1,"a":2},"specversion"', 1),
    ):
        found = read_event(doubled, NOW)
        assert isinstance(found, Refused) and "twice" in found.detail
    spare = raw.replace(b'{"specversion"', b'{"more":{"a":1},"specversion"', 1)
    assert isinstance(read_event(spare, NOW), Accepted)
