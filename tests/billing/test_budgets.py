"""Budgets: gateways know what was spent, and learn it again when Redis forgot."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings

from billing.actions.budgets import keep_budgets
from billing.actions.ingest import ingest
from billing.actions.rollup import roll_up
from billing.clients.counters import budget_counters
from gateway.contract import keys
from tenants.base.scope import fleet_scope
from tenants.models import Quota
from tests.billing.factories import NOW, batch, load, make_prices, usage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def counters():
    found = budget_counters(settings.REDIS_URL)
    found._redis.flushdb()
    return found


def make_budget(tenant, amount="10", **fields):
    with fleet_scope():
        money = Decimal(amount) if amount else None
        quota = Quota.objects.create(tenant=tenant, monthly_budget=money, **fields)
        quota.series = quota.pk
        quota.save()
    return quota


def spent(counters, quota, period="2026-11", kind="money"):
    return counters.read(quota.tenant_id, quota.series, period, kind)


def test_it_writes_what_was_charged_this_month(acme, gateway, counters):
    make_prices()
    quota = make_budget(acme)
    load(
        gateway,
        usage(acme, completion_tokens=1_000_000, prompt_tokens=0, cached_tokens=0),
        usage(acme, at=NOW - timedelta(days=30)),  # last month
    )
    assert keep_budgets(NOW) == 1
    assert spent(counters, quota) == {"spent": "1500000", "gen": "1"}


def test_it_counts_usage_that_is_not_rated_yet(acme, gateway, counters):
    make_prices()
    quota = make_budget(acme)
    million = {"completion_tokens": 1_000_000, "prompt_tokens": 0, "cached_tokens": 0}
    load(gateway, usage(acme, **million))
    ingest(gateway, batch(usage(acme, **million)), now=NOW)
    roll_up(NOW)
    keep_budgets(NOW)
    assert spent(counters, quota)["spent"] == "3000000"


def test_it_never_lowers_what_a_gateway_counted(acme, gateway, counters):
    make_prices()
    quota = make_budget(acme)
    load(gateway, usage(acme))
    keep_budgets(NOW)
    name = keys.budget(acme.pk, quota.series, "2026-11")
    counters._redis.hset(name, "spent", "5000000")
    keep_budgets(NOW)
    assert spent(counters, quota)["spent"] == "5000000"


def test_it_tells_again_what_redis_forgot(acme, gateway, counters):
    make_prices()
    quota = make_budget(acme)
    load(gateway, usage(acme))
    keep_budgets(NOW)
    before = spent(counters, quota)
    counters._redis.flushdb()
    counters._redis.script_flush()
    keep_budgets(NOW)
    assert spent(counters, quota) == before != {}


def test_it_counts_an_applications_and_a_models_budget_apart(acme, gateway, counters):
    make_prices()
    by_model = make_budget(acme, model="code")
    by_app = make_budget(acme, application_id=acme.app.pk)
    load(
        gateway,
        usage(acme, completion_tokens=1_000_000, prompt_tokens=0, cached_tokens=0, model="code"),
        usage(acme, completion_tokens=1_000_000, prompt_tokens=0, cached_tokens=0),
    )
    keep_budgets(NOW)
    assert spent(counters, by_model)["spent"] == "5000000"
    assert spent(counters, by_app)["spent"] == "6500000"


def test_it_writes_tokens_that_were_used_with_or_without_a_price(acme, gateway, counters):
    quota = make_budget(
        acme, "", monthly_input_tokens=10, monthly_output_tokens=10, monthly_tokens=10
    )
    by_model = make_budget(acme, "", model="code", monthly_tokens=10)
    amounts = {"prompt_tokens": 300, "cached_tokens": 100, "completion_tokens": 20}
    load(
        gateway,
        usage(acme, **amounts),
        usage(acme, model="code", **amounts),
        usage(acme, outcome="failed", **amounts),  # nobody pays for it
        usage(acme, at=NOW - timedelta(days=30), **amounts),  # last month
    )
    assert keep_budgets(NOW) == 4
    kinds = ("input_tokens", "output_tokens", "tokens")
    found = {kind: spent(counters, quota, kind=kind)["spent"] for kind in kinds}
    assert found == {"input_tokens": "600", "output_tokens": "40", "tokens": "640"}
    assert spent(counters, quota) == {}, "no budget of money"
    assert spent(counters, by_model, kind="tokens")["spent"] == "320"


def test_it_uses_the_month_of_the_tenants_zone(acme, gateway, counters):
    make_prices()
    with fleet_scope():
        type(acme).objects.filter(pk=acme.pk).update(time_zone="Pacific/Auckland")
    quota = make_budget(acme)
    late = NOW.replace(month=10, day=31, hour=12)  # 1 November in Auckland
    load(gateway, usage(acme, at=late))
    keep_budgets(NOW)
    assert int(spent(counters, quota)["spent"]) > 0


def test_it_leaves_superseded_budgets_alone(acme, counters):
    make_budget(acme, superseded_at=NOW)
    assert keep_budgets(NOW) == 0


@pytest.mark.parametrize(
    ("zone", "hours", "there"), [("UTC", 5, True), ("UTC", 7, False), ("Asia/Tokyo", 14, True)]
)
def test_counters_of_the_next_month_are_there_before_it_begins(acme, counters, zone, hours, there):
    """A gateway that asks for them at midnight would refuse until the ledger looks again."""
    with fleet_scope():
        type(acme).objects.filter(pk=acme.pk).update(time_zone=zone)
    quota = make_budget(acme)
    assert keep_budgets(datetime(2026, 12, 1, tzinfo=UTC) - timedelta(hours=hours)) == 1
    assert spent(counters, quota, "2026-11")["gen"] == "1"
    assert spent(counters, quota, "2026-12") == ({"spent": "0", "gen": "1"} if there else {})


def test_the_ledger_takes_over_the_counter_of_the_month_that_began(acme, gateway, counters):
    make_prices()
    quota = make_budget(acme)
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    keep_budgets(midnight - timedelta(minutes=1))
    counters._redis.hincrby(keys.budget(acme.pk, quota.series, "2026-12"), "spent", 70)
    keep_budgets(midnight - timedelta(seconds=1))
    assert spent(counters, quota, "2026-12")["spent"] == "70"
    load(
        gateway,
        usage(acme, at=midnight, completion_tokens=1_000_000, prompt_tokens=0, cached_tokens=0),
        now=midnight + timedelta(hours=2),
    )
    keep_budgets(midnight + timedelta(hours=2))
    assert spent(counters, quota, "2026-12")["spent"] == "1500000"
