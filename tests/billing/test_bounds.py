"""Events that keep the bounds of the quick reader are those that the thorough one accepts."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing.rules import events
from tests.billing.factories import NOW, cloud, usage

ENDED = round(NOW.timestamp() * 1_000_000)
NAME = str(UUID(int=2**127 + 12345))
around = st.sampled_from([-1, 0, 1, events.LARGEST, events.LARGEST + 1, 2**63, 2**64, 1.5, "1"])
millis = st.sampled_from([None, -0.1, 0, 1.5, events.LARGEST_MS, events.LARGEST_MS + 1])
status = st.sampled_from([-1, 0, 200, 999, 1000])
moments = st.sampled_from([-1, 0, ENDED - 1, ENDED, ENDED + 1, events.LATEST, events.LATEST + 1])
letters = st.sampled_from(["a", "ü", "\U0001f600", "\0", '":', "\\u0000"])


def texts(longest):
    sizes = st.sampled_from([0, 1, longest - 1, longest, longest + 1])
    return st.builds(lambda letter, n: (letter * n)[:n], letters, sizes)


def many(items, most):
    return st.builds(lambda item, n: [item] * n, items, st.sampled_from([0, 1, most, most + 1]))


FIELDS = {
    **{name: texts(longest) for name, longest in events.LENGTHS.items()},
    **dict.fromkeys((*events.COUNTS, *events.IDS), around),
    **dict.fromkeys(events.OPTIONAL_IDS, st.none() | around),
    **dict.fromkeys(events.TIMES_MS, millis),
    "started_at": moments,
    "finished_at": moments,
    "http_status": status,
    "modifiers": many(texts(128), 16),
    "limit_versions": many(around, 64),
    "schema": st.sampled_from([0, 1, 2]),
    "request_id": st.sampled_from([NAME, NAME.upper(), NAME[:-1], str(UUID(int=7))]),
    "outcome": st.sampled_from(["served", "cancelled", "odd"]),
    "unknown": st.sampled_from([1, {"tenant_id": 1}, [{"a": 1}]]),
}
some_fields = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
SOMEBODY = SimpleNamespace(pk=1, app=SimpleNamespace(pk=2))


def told(raw):
    """All that is kept of an event, or why it is not."""
    found = events.read_event(raw, NOW)
    if isinstance(found, events.Refused):
        return found
    data = msgspec.to_builtins(found.event)
    return found.event_id, found.sha, found.raw, found.ended, found.is_copy, data


def told_thoroughly(raw):
    with patch.object(events, "_decode_bounded", side_effect=msgspec.ValidationError):
        return told(raw)


@given(changes=some_fields, separators=st.sampled_from([(",", ":"), (", ", ": "), (",", " :")]))
@example(changes={}, separators=(",", ":"))
@example(changes={"request_id": NAME.upper()}, separators=(",", ":"))
def test_what_is_read_quickly_is_what_is_read_thoroughly(changes, separators):
    data = usage(SOMEBODY) | {"request_id": NAME} | changes
    raw = json.dumps(cloud(data, id=NAME), separators=separators).encode()
    assert told(raw) == told_thoroughly(raw)


@pytest.mark.parametrize(
    "spell", [str.upper, lambda name: name.replace("-", ""), "urn:uuid:{}".format]
)
def test_an_id_is_the_same_in_every_spelling(spell):
    raw = json.dumps(cloud(usage(SOMEBODY) | {"request_id": NAME}, id=spell(NAME))).encode()
    found = events.read_event(raw, NOW)
    assert (found.event_id, type(found)) in [(NAME, events.Accepted), (spell(NAME), events.Refused)]
    assert told(raw) == told_thoroughly(raw)


@given(st.integers(0, events.LATEST))
def test_a_moment_is_exact_to_the_microsecond(micros):
    assert events.moment(micros) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=micros
    )


def test_an_event_as_gateways_write_it_is_read_once():
    raw = json.dumps(cloud(usage(SOMEBODY))).encode()
    with patch.object(events, "_decode_event", side_effect=AssertionError):
        assert isinstance(events.read_event(raw, NOW), events.Accepted)
