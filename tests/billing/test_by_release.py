"""Charges by release: parts of every hour add up to its charges, over any range."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.drive.checks import check_all
from billing.models import ChargeRelease, UsageHour
from billing.queries.by_release import release_parts, sum_releases
from billing.queries.charged import ChargeFilter, sum_amounts
from tenants.base.scope import fleet_scope, scope_of, tenant_scope
from tenants.errors import NotFound
from tests.billing.factories import NOW, load, make_prices, usage, viewer

pytestmark = pytest.mark.django_db
RANGE = ChargeFilter(NOW - timedelta(days=10), NOW + timedelta(hours=1))


@pytest.fixture
def answered(acme, globex, gateway):
    """Ten days; of each request, one of three releases answered, for one price."""
    make_prices()
    load(
        gateway,
        *(
            usage(
                tenant, at=NOW - timedelta(hours=5 * n, minutes=turn), release=f"rel-{turn}",
                completion_tokens=10 + 7 * n + turn, prompt_tokens=1_000 + n, model=model,
            )
            for tenant in (acme, globex)
            for n in range(40)
            for turn in range(3)
            for model in ("chat", "code")
        ),
    )  # fmt: skip


def test_each_release_has_what_its_tokens_cost(acme, answered):
    """One price of a meter: each release's part is its own tokens at it, exactly."""
    with fleet_scope():
        found = sum_releases(replace(RANGE, tenant_id=acme.pk))
        for (model, release), amount in found.items():
            rows = UsageHour.objects.filter(tenant_id=acme.pk, model=model, release=release)
            sums = rows.aggregate(
                p=Sum("prompt_tokens"), c=Sum("cached_tokens"), a=Sum("completion_tokens")
            )
            price = {"chat": ("0.50", "0.05", "1.50"), "code": ("1.25", "0.125", "5")}[model]
            fresh, cached, answer = map(Decimal, price)
            owed = (sums["p"] - sums["c"]) * fresh + sums["c"] * cached + sums["a"] * answer
            assert amount == owed / 1_000_000
    assert set(found) == {(m, f"rel-{n}") for m in ("chat", "code") for n in range(3)}


def test_parts_add_up_over_days_and_over_the_edges_of_days(acme, answered):
    with fleet_scope():
        for hours in (0, 1, 7, 30, 100):
            wanted = replace(RANGE, start=NOW - timedelta(hours=hours + 31), tenant_id=acme.pk)
            wanted = replace(wanted, end=NOW - timedelta(hours=hours))
            parts = sum(sum_releases(wanted).values(), Decimal(0))
            assert parts == (sum_amounts(wanted)[()] or 0)
        assert all(check.holds for check in check_all(NOW - timedelta(days=30), NOW))


def test_what_no_release_answered_has_none(acme, gateway):
    make_prices()
    load(gateway, usage(acme, release=""), usage(acme, release="rel-1"))
    with fleet_scope():
        found = sum_releases(replace(RANGE, tenant_id=acme.pk))
    assert found["chat", ""] == found["chat", "rel-1"] > 0


def test_late_usage_changes_the_day_of_its_release(acme, gateway):
    make_prices()
    load(gateway, usage(acme, release="rel-1", at=NOW - timedelta(days=2)))
    with fleet_scope():
        one = ChargeRelease.objects.get().amount
    load(gateway, usage(acme, release="rel-2", at=NOW - timedelta(days=2, minutes=1)))
    with fleet_scope():
        assert dict(ChargeRelease.objects.values_list("release", "amount")) == {
            "rel-1": one, "rel-2": one,
        }  # fmt: skip


def test_a_tenant_has_the_cut_of_its_own_charges_only(acme, globex, answered):
    fiona = viewer("finance", acme)
    with scope_of(fiona):
        wanted = replace(RANGE, tenant_id=acme.pk)
        before = replace(wanted, start=NOW - timedelta(days=20), end=NOW - timedelta(days=10))
        found = release_parts(fiona, wanted, before)
        assert sum(p.amount for p in found) == sum_amounts(wanted)[()]
        assert sum(p.share for p in found) == pytest.approx(1)
        with pytest.raises(NotFound):
            release_parts(fiona, replace(RANGE, tenant_id=globex.pk), before)
    with tenant_scope(globex.pk):
        assert {r.tenant_id for r in ChargeRelease.objects.all()} == {globex.pk}
