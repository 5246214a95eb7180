"""An hour of which engines' counters were lost never passes for one that agrees."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.confidence import keep_engine_hours
from billing.queries.confidence import compare_hours
from billing.rules.confidence import HourCompared
from fleet.models import EngineProbe, EngineSample
from tenants.base.scope import scope_of
from tests.billing.factories import HOUR, load, usage
from tests.fleet.makers import make_service


def compared(metered, counted):
    return HourCompared(HOUR, 4, metered, counted, 1, metered)


@pytest.mark.parametrize(("metered", "counted"), [(100_000, -500), (1, -1), (100_000, 0)])
def test_less_than_nothing_counted_is_no_agreement(metered, counted):
    """Our own probes are taken off what engines counted: of a restarted one, too much."""
    found = compared(metered, counted)
    assert (found.tokens, found.figure, found.state) == (0.0, 0.0, "off")
    assert found.drift is None


def test_nothing_metered_and_less_than_nothing_counted_is_nothing_amiss():
    assert compared(0, -500).tokens == 1.0


@given(metered=st.integers(0, 10**12), counted=st.integers(-(10**9), 10**12))
def test_a_figure_lies_between_nothing_and_all(metered, counted):
    found = compared(metered, counted)
    assert found.tokens is not None
    assert 0 <= found.tokens <= 1
    assert found.drift is None or found.drift >= 0


@pytest.mark.django_db
def test_an_hour_whose_engine_was_read_too_seldom_is_off(acme, gateway, olga):
    """Its counter was seen to grow by 50, beside 600 tokens of our own probes."""
    chat = make_service()
    load(gateway, usage(acme, service_id=chat.pk, prompt_tokens=100_000))
    for minutes, prompt in ((-1, 10_000), (1, 10_050)):
        EngineSample.objects.create(
            pod_uid="a", service=chat, release_id=1, at=HOUR + timedelta(minutes=minutes),
            prompt_tokens=prompt, generation_tokens=0,
        )  # fmt: skip
    EngineProbe.objects.create(
        pod_uid="a", service=chat, at=HOUR + timedelta(minutes=30), passed=True, milliseconds=1.0,
        prompt_tokens=600, told="answered",
    )  # fmt: skip
    assert keep_engine_hours(HOUR + timedelta(hours=1, minutes=10)) == 2
    with scope_of(olga):
        (found,) = compare_hours(olga, HOUR, HOUR + timedelta(hours=1))
    assert (found.state, found.figure) == ("off", 0.0)
    assert found.why.startswith("100.00 %")
