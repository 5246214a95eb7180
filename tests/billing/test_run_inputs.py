"""Runs of rating say what they were made from: versions, hours, cut-off, rules."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.models import RatingRun
from billing.queries.runs import get_run, versions_of
from billing.rules.rating import RULES_VERSION
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden
from tests.billing.factories import HOUR, NOW, PRICES, load, make_prices, usage, viewer

pytestmark = pytest.mark.django_db
DEARER = {"chat": {m: p * 2 for m, p in PRICES["chat"].items()}}


@pytest.fixture
def rated(acme, globex, gateway):
    """Two hours with a dearer version from the second on; the first one's prices ended before."""
    make_prices(starts_at=HOUR - timedelta(days=9), now=HOUR - timedelta(days=9))
    make_prices(DEARER, starts_at=HOUR, now=NOW)
    load(gateway, usage(acme), usage(globex, at=NOW - timedelta(hours=2)))
    with fleet_scope():
        return RatingRun.objects.latest("id")


def test_a_run_keeps_its_versions_hours_and_cut_off(rated, fiona, finance):
    assert (rated.first_hour, rated.last_hour) == (HOUR - timedelta(hours=2), HOUR)
    assert rated.cut_off is not None and rated.rules_version == RULES_VERSION
    with scope_of(fiona):
        numbers = [(v.book, v.number) for v in versions_of(fiona, get_run(fiona, rated.pk))]
    assert numbers == [("list", 1), ("list", 2)]
    found = finance.get(f"rating-runs/{rated.pk}")
    assert [v["number"] for v in found["price_versions"]] == [1, 2]
    assert found["first_hour"] == "2026-11-20T10:00:00Z"


def test_a_version_of_other_hours_is_not_named(acme, gateway):
    make_prices(starts_at=HOUR - timedelta(days=9), now=HOUR - timedelta(days=9))
    make_prices(DEARER, starts_at=HOUR, now=NOW)
    load(gateway, usage(acme))
    with fleet_scope():
        run = RatingRun.objects.latest("id")
        assert len(run.book_versions) == 1
    assert Decimal(run.charges) > 0


def test_a_run_from_before_says_not_kept(rated, fiona, finance):
    with fleet_scope():
        old = RatingRun.objects.create(
            started_at=NOW, finished_at=NOW, hours=1, charges=1, input_sha="x", rules_version="1"
        )
    with scope_of(fiona):
        assert versions_of(fiona, old) is None
    found = finance.get(f"rating-runs/{old.pk}")
    assert (found["price_versions"], found["cut_off"]) == (None, None)


def test_it_needs_a_role_with_money_and_hides_contracts_of_others(rated, globex, finance, stranger):
    with pytest.raises(Forbidden):
        get_run(viewer("viewer"), rated.pk)
    assert [v["book"] for v in stranger.get(f"rating-runs/{rated.pk}")["price_versions"]] == [
        "list", "list",
    ]  # fmt: skip
    assert finance("get", "rating-runs/999999").status_code == 404
