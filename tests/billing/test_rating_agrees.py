"""Statements and rules rate alike: the rows that rating writes are those that the rules say."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.actions.calendars import keep_periods
from billing.actions.contracts import open_months
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.actions.rating import rate_due
from billing.models import (
    BillingPeriod,
    Charge,
    HourHead,
    PriceBook,
    RatingRun,
    UnpricedUsage,
    UsageHour,
)
from billing.queries.books import read_tariffs
from billing.queries.hours import read_charged, read_usage
from billing.queries.months import whole_months
from billing.rules.prices import read_line
from billing.rules.rating import Key, PriceTag, differences, rate, with_fees
from tenants.base.scope import fleet_scope
from tenants.queries.directory import tenant_refs
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, make_tenant, usage
from tests.billing.life import CONTRACTS, LISTS, REST
from tests.billing.test_month_rating import sign

pytestmark = pytest.mark.django_db
ZONES = ("Europe/Berlin", "Asia/Kolkata", "UTC")
MORE = [
    ["code", "request", "0.777"],
    ["chat", "gpu_second", "0.000123457"],
    ["chat", "gpu_second", "0.000345678", "", "H100"],
    ["chat", "prompt", "tiered 2000000:0.91 rest:0.8", "", "hosted"],
    ["chat", "cached", "0.31", "", "hosted"],
    ["chat", "completion", "2.2", "", "hosted"],
    ["chat", "prompt", "0.7", "batch"],
]


@dataclass(frozen=True)
class Row:
    tenant: int
    ago: int
    application: int
    model: str
    traffic_class: str
    outcome: str
    prompt: int
    cached: int
    completion: int
    gpu_ms: int
    hosted: str
    gpu_product: str


rows = st.builds(
    Row,
    tenant=st.integers(0, 2),
    ago=st.integers(0, 900),
    application=st.integers(1, 2),
    model=st.sampled_from(["chat", "code", "ghost"]),
    traffic_class=st.sampled_from(["interactive", "batch", "critical"]),
    outcome=st.sampled_from(["served", "cancelled", "failed"]),
    prompt=st.integers(0, 3_000_000),
    cached=st.integers(0, 100),
    completion=st.integers(0, 400_000),
    gpu_ms=st.integers(0, 90_001),
    hosted=st.sampled_from(["", "", "Example AI", "Other"]),
    gpu_product=st.sampled_from(["", "H100", "L40S"]),
)
# A list, or a contract with one of the tenants; how many hours ago it began to hold.
agreed = st.tuples(
    st.one_of(
        st.sampled_from(LISTS),
        st.tuples(st.integers(0, 1), st.sampled_from(CONTRACTS)),
    ),
    st.integers(0, 1_000),
)


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    first=st.lists(rows, max_size=12),
    later=st.lists(rows, max_size=4),
    prices=st.lists(agreed, min_size=1, max_size=3),
    fixes=st.lists(agreed, max_size=2),
    closed=st.booleans(),
)
def test_it_writes_the_rows_that_the_rules_say(db, first, later, prices, fixes, closed):
    with transaction.atomic():
        tenants = [make_tenant(f"t{n}", time_zone=zone) for n, zone in enumerate(ZONES)]
        for what, ago in prices:
            agree(tenants, what, ago)
        add(tenants, first)
        compare()
        if closed:
            close_months()
        add(tenants, later)
        for what, ago in fixes:
            agree(tenants, what, ago)
        compare()
        transaction.set_rollback(True)


def agree(tenants, what, ago):
    if isinstance(what, tuple):
        sign(tenants[what[0]], *what[1], starts_at=HOUR - timedelta(hours=ago))
        return
    with fleet_scope():
        if not PriceBook.objects.filter(slug="list").exists():
            create_book(SYSTEM, slug="list", name="List", currency="USD")
        given = [read_line(*line) for line in (*what, *REST, *MORE)]
        draft = draft_version(SYSTEM, "list", prices=given, why="tests")
        start = HOUR - timedelta(hours=ago)
        publish_version(SYSTEM, "list", draft.number, starts_at=start, now=NOW, why="tests")


def add(tenants, found):
    """As the roll-up has it: sums of an hour, and a version of its head."""
    with fleet_scope():
        for row in found:
            tenant, hour = tenants[row.tenant], HOUR - timedelta(hours=row.ago)
            sums = {
                "requests": 3,
                "prompt_tokens": row.prompt,
                "cached_tokens": row.prompt * row.cached // 100,
                "completion_tokens": row.completion,
                "gpu_ms": row.gpu_ms,
            }
            key = {
                "hour": hour,
                "tenant_id": tenant.pk,
                "application_id": row.application,
                "model": row.model,
                "service_id": 1,
                "traffic_class": row.traffic_class,
                "outcome": row.outcome,
                "hosted": row.hosted,
                "gpu_product": row.gpu_product,
            }
            UsageHour.objects.update_or_create(**key, defaults=sums)
            heads = HourHead.objects.filter(hour=hour, tenant_id=tenant.pk)
            if not heads.update(version=F("version") + 1):
                HourHead.objects.create(hour=hour, tenant_id=tenant.pk, rolled_at=NOW)


def close_months():
    keep_periods(NOW)
    with fleet_scope():
        for state in ("closing", "closed"):
            BillingPeriod.objects.filter(ends_at__lt=NOW).update(state=state)


def compare():
    """Rate, and look at every row: what, in which order, billed in which period."""
    with fleet_scope():
        open_months(NOW)  # the hours of fees, which rating opens first
    with fleet_scope():
        heads = list(HourHead.objects.values_list("hour", "tenant_id", "version"))
        tariffs = read_tariffs(tenant_refs({t for _, t, _ in heads}).values())
        together = whole_months(heads, tariffs, NOW)
        rated = with_fees(rate(read_usage(together.pairs), tariffs), together.periods, tariffs)
        charged = read_charged(([h for h, _, _ in heads], [t for _, t, _ in heads]))
        last = max(Charge.objects.values_list("id", flat=True), default=0)
    passed = rate_due(NOW, early=True)
    assert rate_due(NOW, early=True).charges == 0
    with fleet_scope():
        written = list(Charge.objects.filter(id__gt=last).order_by("id"))
        expected = differences(rated.owed, charged)
        assert [plain(c) for c in written] == [(r.key, r.quantity, r.tag) for r in expected]
        assert [c.amount for c in written] == [r.amount for r in expected]
        assert passed.charges == len(written)
        assert {c.run_id for c in written} == ({passed.run_id} if written else set())
        assert unpriced() == rated.unpriced
        for c in written:
            assert c.correction_period_id == billed_in(c)


def plain(c):
    key = Key(c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.runs_on)
    return key, c.quantity, PriceTag(c.unit_price, c.currency, c.book_version_id)


def unpriced():
    key = ("hour", "tenant_id", "application_id", "model", "traffic_class", "meter", "runs_on")
    fields = (*key, "quantity")
    return {Key(*row[:7]): row[7] for row in UnpricedUsage.objects.values_list(*fields)}


def billed_in(charge):
    periods = BillingPeriod.objects.filter(tenant_id=charge.tenant_id).order_by("starts_at")
    closed = [p for p in periods if p.state == "closed"]
    if not any(p.starts_at <= charge.hour < p.ends_at for p in closed):
        return None
    return next(p.pk for p in periods if p.state != "closed")


@pytest.mark.parametrize("column", ["run_id", "book_version_id", "correction_period_id"])
def test_it_refuses_a_charge_that_refers_to_nothing(acme, gateway, column):
    make_prices()
    load(gateway, usage(acme))
    with fleet_scope():
        row = Charge.objects.first()
        row.pk = None
        setattr(row, column, 1_000_000)
        with pytest.raises(DatabaseError), transaction.atomic():
            row.save(force_insert=True)


@pytest.mark.parametrize("sql", ["DELETE FROM rating_run", "UPDATE rating_run SET input_sha = ''"])
def test_it_keeps_the_runs_that_charges_name(acme, gateway, sql):
    make_prices()
    load(gateway, usage(acme))
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(sql)


def test_it_keeps_no_run_that_wrote_nothing(acme, gateway):
    make_prices()
    load(gateway, usage(acme, prompt_tokens=0, cached_tokens=0, completion_tokens=0))
    with fleet_scope():
        assert not RatingRun.objects.exists()
        assert HourHead.objects.get().amount == Decimal(0)
