"""From events to hours to charges: exact, repeatable, and only ever added to."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.ingest import ingest
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.models import (
    Charge,
    ChargeDay,
    HourHead,
    HourMark,
    UnpricedUsage,
    UsageEvent,
    UsageHour,
)
from billing.rules.prices import PriceLine
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.models import PublishedPrice
from tests.billing.factories import (
    HOUR,
    NOW,
    PRICES,
    batch,
    load,
    make_prices,
    make_source,
    make_tenant,
    settle,
    usage,
)

pytestmark = pytest.mark.django_db


def price_apart(tenant=None, prices=PRICES):
    """What is owed, computed from raw rows by a program that shares nothing with the rating."""
    total = Decimal(0)
    with fleet_scope():
        rows = (
            UsageEvent.objects.all()
            if tenant is None
            else UsageEvent.objects.filter(tenant_id=tenant.pk)
        )
        for row in rows:
            if row.outcome in ("served", "rerouted", "degraded", "cancelled"):
                price = prices[row.model]
                fresh = row.prompt_tokens - row.cached_tokens
                total += fresh * price["prompt"] / 1_000_000
                total += row.cached_tokens * price["cached"] / 1_000_000
                total += row.completion_tokens * price["completion"] / 1_000_000
    return total


def charged(tenant=None, model=Charge):
    with fleet_scope():
        rows = model.objects.all() if tenant is None else model.objects.filter(tenant_id=tenant.pk)
        return rows.aggregate(s=Sum("amount"))["s"] or Decimal(0)


def test_it_charges_each_token_meter_by_its_price(acme, gateway):
    make_prices()
    load(gateway, usage(acme, prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=7))
    with fleet_scope():
        rows = {c.meter: (c.quantity, c.amount) for c in Charge.objects.all()}
    assert rows == {
        "prompt": (600_000, Decimal("0.3")),
        "cached": (400_000, Decimal("0.02")),
        "completion": (7, Decimal("0.0000105")),
    }


@pytest.mark.parametrize(
    ("outcome", "pays"),
    [
        ("served", True),
        ("rerouted", True),
        ("degraded", True),
        ("cancelled", True),
        ("failed", False),
        ("timed_out", False),
        ("shed", False),
        ("rejected", False),
    ],
)
def test_it_charges_answers_and_what_was_computed_until_the_client_left(
    acme, gateway, outcome, pays
):
    make_prices()
    load(gateway, usage(acme, outcome=outcome))
    assert (charged() > 0) is pays
    with fleet_scope():
        assert not UnpricedUsage.objects.exists()


def test_it_adds_late_usage_as_a_difference(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    load(gateway, usage(acme, completion_tokens=1_000))
    with fleet_scope():
        rows = Charge.objects.filter(meter="completion").order_by("id")
        assert [r.quantity for r in rows] == [30, 1_000]
    assert charged() == price_apart()


def test_it_writes_nothing_when_nothing_is_new(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    with fleet_scope():
        HourHead.objects.update(rated_version=0)
        before = list(Charge.objects.values())
    assert rate_due(NOW, early=True).charges == 0
    with fleet_scope():
        assert list(Charge.objects.values()) == before


def test_it_reverses_and_corrects_when_a_price_was_wrong(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    cheaper = {"chat": PRICES["chat"] | {"completion": Decimal("1.00")}}
    make_prices(cheaper, starts_at=HOUR)
    settle()
    with fleet_scope():
        rows = list(
            Charge.objects.filter(meter="completion")
            .order_by("id")
            .values_list("quantity", "unit_price")
        )
    old, new = Decimal("0.0000015"), Decimal("0.000001")
    assert rows == [(30, old), (-30, old), (30, new)]
    assert charged() == price_apart(prices=cheaper)


def test_it_leaves_hours_before_a_new_price_alone(acme, gateway):
    make_prices()
    load(gateway, usage(acme, at=NOW - timedelta(hours=3)))
    before = charged()
    make_prices({"chat": PRICES["chat"] | {"prompt": Decimal("9")}}, starts_at=HOUR)
    settle()
    assert charged() == before


def test_it_lists_usage_that_has_no_price(acme, gateway):
    make_prices()
    load(gateway, usage(acme, model="unheard-of"))
    assert charged() == 0
    with fleet_scope():
        rows = {u.meter: u.quantity for u in UnpricedUsage.objects.all()}
    assert rows == {"prompt": 60, "cached": 40, "completion": 30}


def test_it_charges_what_was_unpriced_once_there_is_a_price(acme, gateway):
    load(gateway, usage(acme))
    with fleet_scope():
        assert UnpricedUsage.objects.count() == 3
    make_prices()
    settle()
    assert charged() == price_apart() > 0
    with fleet_scope():
        assert not UnpricedUsage.objects.exists()


def test_it_prices_a_class_apart_where_the_book_does(acme, gateway):
    make_prices(more=[PriceLine("chat", "completion", Decimal("0.75"), "batch")])
    load(gateway, usage(acme, traffic_class="batch"), usage(acme))
    with fleet_scope():
        rows = {c.traffic_class: c.unit_price for c in Charge.objects.filter(meter="completion")}
    assert rows == {"batch": Decimal("0.00000075"), "interactive": Decimal("0.0000015")}


def test_it_sums_names_that_no_service_has_as_one(acme, gateway):
    data = [
        usage(acme, model=f"m{i}", outcome="rejected", reason="unknown_model", service_id=None)
        for i in range(50)
    ]
    load(gateway, *data)
    with fleet_scope():
        assert [(h.model, h.requests) for h in UsageHour.objects.all()] == [("", 50)]


def test_it_keeps_a_mark_that_comes_while_the_hour_is_rolled_up(acme, gateway):
    load(gateway, usage(acme))
    ingest(gateway, batch(usage(acme)), now=NOW)
    assert roll_up(NOW) == 1
    with fleet_scope():
        assert UsageHour.objects.get().requests == 2
        assert not HourMark.objects.exists()
        assert HourHead.objects.get().version == 2


def test_it_rates_a_running_hour_seldom_and_a_closed_one_at_once(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    ingest(gateway, batch(usage(acme)), now=NOW)
    roll_up(NOW)
    assert rate_due(NOW + timedelta(seconds=20)).hours == 0
    assert rate_due(NOW + timedelta(seconds=90)).hours == 1
    ingest(gateway, batch(usage(acme)), now=NOW)
    roll_up(NOW)
    assert rate_due(HOUR + timedelta(hours=1, minutes=3)).hours == 1


@pytest.mark.parametrize(
    "sql",
    ["UPDATE charge SET amount = 0", "DELETE FROM charge", "UPDATE price SET unit_price = 0"],
)
def test_it_keeps_charges_and_prices_as_they_were_written(acme, gateway, sql):
    make_prices()
    load(gateway, usage(acme))
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(sql)


def test_it_refuses_a_charge_that_is_not_quantity_times_price(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    with fleet_scope():
        row = Charge.objects.first()
        row.pk, row.amount = None, row.amount + Decimal("0.000000000001")
        with pytest.raises(DatabaseError), transaction.atomic():
            row.save(force_insert=True)


def test_it_tells_gateways_the_prices(acme):
    make_prices()
    row = PublishedPrice.objects.get(model="chat")
    assert (row.prompt, row.cached, row.completion) == (500_000, 50_000, 1_500_000)


@pytest.mark.parametrize("model", [UsageEvent, UsageHour, HourHead, Charge, ChargeDay])
def test_it_shows_a_stranger_no_row(acme, globex, gateway, model):
    make_prices()
    load(gateway, usage(acme))
    with tenant_scope(globex.pk):
        assert not model.objects.exists()
    with tenant_scope(acme.pk):
        assert model.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["_write", "add_to_days", "_finish"])
def test_it_gives_the_same_totals_when_a_worker_dies_between_steps(
    acme, gateway, monkeypatch, step
):
    make_prices()
    ingest(gateway, batch(usage(acme), usage(acme, model="code")), now=NOW)
    roll_up(NOW)

    def die(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"billing.actions.rating.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            rate_due(NOW)
    settle()
    assert charged() == charged(model=ChargeDay) == price_apart() > 0


requests = st.lists(
    st.tuples(
        st.integers(0, 1),  # tenant
        st.integers(0, 49),  # hours ago
        st.sampled_from(["chat", "code"]),
        st.sampled_from(["served", "failed", "cancelled", "rejected", "degraded"]),
        st.integers(0, 5_000),
        st.integers(0, 100),
        st.integers(0, 5_000),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(requests, min_size=1, max_size=3), replay=st.booleans())
def test_it_holds_every_sum_whatever_comes_in_whatever_order(db, batches, replay):
    with transaction.atomic():
        walk(batches, replay)
        transaction.set_rollback(True)


def walk(batches, replay):
    tenants = [make_tenant("initech"), make_tenant("umbrella")]
    source = make_source("walker")
    make_prices()
    for number, rows in enumerate(batches):
        body = batch(
            *[
                usage(
                    tenants[t],
                    at=NOW - timedelta(hours=ago),
                    model=model,
                    outcome=outcome,
                    prompt_tokens=prompt,
                    cached_tokens=prompt * share // 100,
                    completion_tokens=completion,
                )
                for t, ago, model, outcome, prompt, share, completion in rows
            ]
        )
        for _ in range(2 if replay else 1):
            ingest(source, body, now=NOW)
        if number % 2 == 0:
            settle()
    settle()
    for tenant in tenants:
        owed = price_apart(tenant)
        assert charged(tenant) == charged(tenant, ChargeDay) == charged(tenant, HourHead) == owed
    assert hours_from_events() == hours_as_kept()


def hours_from_events():
    found = defaultdict(lambda: [0, 0, 0, 0])
    with fleet_scope():
        for e in UsageEvent.objects.all():
            hour = datetime(*e.event_time.timetuple()[:4], tzinfo=UTC)
            sums = found[hour, e.tenant_id, e.model, e.outcome]
            for place, value in enumerate(
                (1, e.prompt_tokens, e.cached_tokens, e.completion_tokens)
            ):
                sums[place] += value
    return dict(found)


def hours_as_kept():
    with fleet_scope():
        return {
            (h.hour, h.tenant_id, h.model, h.outcome): [
                h.requests,
                h.prompt_tokens,
                h.cached_tokens,
                h.completion_tokens,
            ]
            for h in UsageHour.objects.all()
        }
