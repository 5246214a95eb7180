"""Metered tokens against the engines' own counters."""

from datetime import timedelta

import pytest

from billing.queries.completeness import compare_tokens
from fleet.queries.engines import TokenCount
from tenants.base.scope import scope_of
from tests.billing.factories import HOUR, load, usage

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("counted", "drift", "alarming"), [(100, 0.0, False), (101, 1 / 131, True), (0, 1.0, True)]
)
def test_it_compares_metered_tokens_with_engines(
    acme, gateway, olga, monkeypatch, counted, drift, alarming
):
    """One request of 100 + 30 tokens was metered."""
    load(gateway, usage(acme, service_id=4))
    count = TokenCount(4, counted, 30 if counted else 65, 0, 1, 0, 0)
    monkeypatch.setattr("billing.queries.completeness.token_counters", lambda start, end: [count])
    with scope_of(olga):
        (found,) = compare_tokens(olga, HOUR, HOUR + timedelta(hours=1))
    assert found.drift == pytest.approx(drift)
    assert found.is_alarming is alarming


def test_it_says_nothing_where_engines_counted_nothing(olga, db, monkeypatch):
    count = TokenCount(4, 0, 0, 0, 1, 0, 0)
    monkeypatch.setattr("billing.queries.completeness.token_counters", lambda start, end: [count])
    (found,) = compare_tokens(olga, HOUR, HOUR + timedelta(hours=1))
    assert found.drift is None
    assert not found.is_alarming
