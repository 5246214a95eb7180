"""What pages read: months, forecasts, parts and rows that always say the same."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.actions.rollup import roll_up
from billing.queries.charged import ChargeFilter, edges, sum_amounts, sum_charges, sum_days
from billing.queries.completeness import completeness
from billing.queries.economics import economics, list_allocations
from billing.queries.money import list_charges, parts, tenant_month
from billing.queries.requests import UsageFilter, get_request, list_hours, request_page
from billing.rules.forecast import forecast
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid, NotFound
from tests.billing.factories import HOUR, NOW, SYSTEM, batch, load, make_prices, usage, viewer

pytestmark = pytest.mark.django_db
MONTH = ChargeFilter(NOW.replace(day=1, hour=0, minute=0), NOW + timedelta(days=11))


@pytest.fixture
def month(acme, globex, gateway):
    make_prices()
    data = [
        usage(acme, at=NOW - timedelta(hours=7 * n), completion_tokens=1_000 + n, model=model)
        for n in range(40)
        for model in ("chat", "code")
    ]
    load(gateway, *data, usage(globex), usage(acme, outcome="rejected", reason="rpm"))
    return data


def test_it_says_the_same_of_a_month_in_every_cut(fiona, acme, month):
    with scope_of(fiona):
        found = tenant_month(fiona, "acme", now=NOW)
        rows = list_charges(fiona, found.wanted)
        assert found.charged == sum(c.amount for c in rows)
        for by in ("model", "application_id", "meter", "traffic_class"):
            cut = parts(fiona, found.wanted, by)
            assert sum(p.amount for p in cut) == found.charged
            assert sum(p.share for p in cut) == pytest.approx(1)
            for part in cut:
                behind = list_charges(fiona, part.wanted)
                assert sum(c.amount for c in behind) == part.amount
        assert sum(sum_days(found.wanted).values()) == found.charged
        tokyo = sum_days(found.wanted, "Asia/Kolkata")
        assert sum(tokyo.values()) == found.charged
    assert found.waiting == 0
    assert found.forecast.low <= found.forecast.amount <= found.forecast.high


def test_it_leads_from_a_charge_to_its_requests(fiona, acme, month):
    with scope_of(fiona):
        charge = list_charges(fiona, replace(MONTH, tenant_id=acme.pk, meter="completion"))[0]
        span = (charge.hour, charge.hour + timedelta(hours=1))
        wanted = UsageFilter(*span, tenant_id=charge.tenant_id, model=charge.model)
        hours = list_hours(fiona, wanted)
        assert sum(h.completion_tokens for h in hours if h.outcome == "served") == charge.quantity
        requests = request_page(fiona, wanted).rows
        detail = get_request(fiona, str(requests[0].request_id))
        assert detail.is_billed
        assert sum(line.amount for line in detail.lines) == detail.amount > 0
        assert list_charges(fiona, detail.charges).filter(pk=charge.pk).exists()


def test_it_shows_what_the_next_rating_adds(fiona, acme, gateway, month):
    ingest(gateway, batch(usage(acme)), now=NOW)
    roll_up(NOW)
    with scope_of(fiona):
        found = tenant_month(fiona, "acme", now=NOW)
    assert found.waiting == Decimal("0.000077")
    assert found.rated_until == HOUR


def test_it_shows_another_month_by_name(fiona, acme, gateway):
    make_prices()
    load(gateway, usage(acme, at=NOW - timedelta(days=30)))
    with scope_of(fiona):
        october = tenant_month(fiona, "acme", now=NOW, name="2026-10")
        november = tenant_month(fiona, "acme", now=NOW)
        assert october.charged == november.month_before == Decimal("0.000077")
        assert october.forecast is None
        with pytest.raises(Invalid):
            tenant_month(fiona, "acme", now=NOW, name="2026-99")


def test_it_hides_a_tenants_money_from_strangers(mallory, acme, month):
    with scope_of(mallory):
        with pytest.raises(NotFound):
            tenant_month(mallory, "acme", now=NOW)
        with pytest.raises(NotFound):
            parts(mallory, replace(MONTH, tenant_id=acme.pk), "model")
        assert {p.name for p in parts(mallory, MONTH, "tenant_id")} == {"globex"}
        with pytest.raises(NotFound):
            get_request(mallory, month[0]["request_id"])
        with pytest.raises((Forbidden, NotFound)):
            economics(mallory, MONTH.start, MONTH.end, now=NOW)


def test_it_shows_a_viewer_requests_but_no_money(acme, month):
    vic = viewer("viewer")
    with scope_of(vic):
        assert request_page(vic, UsageFilter(MONTH.start, MONTH.end)).rows
        with pytest.raises(Forbidden):
            tenant_month(vic, "acme", now=NOW)


def test_it_pages_through_requests_without_counting(fiona, month):
    wanted = UsageFilter(MONTH.start, MONTH.end, tenant_id=month[0]["tenant_id"])
    seen, cursor = [], ""
    with scope_of(fiona):
        while True:
            with CaptureQueriesContext(
                connection,
            ) as log:
                page = request_page(fiona, wanted, cursor=cursor, limit=20)
            assert not any("COUNT(" in q["sql"] for q in log.captured_queries)
            seen += [r.request_id for r in page.rows]
            if not page.older:
                break
            cursor = page.older
        with pytest.raises(Invalid):
            request_page(fiona, wanted, cursor="nonsense")
    assert len(seen) == len(set(seen)) == 81


def test_it_narrows_requests_by_every_field(fiona, acme, month):
    base = UsageFilter(MONTH.start, MONTH.end)
    with scope_of(fiona):
        for change, count in (
            ({"outcome": "rejected"}, 1),
            ({"outcome": "trouble"}, 1),
            ({"reason": "rpm"}, 1),
            ({"model": "code"}, 40),
            ({"release": "rel-other"}, 0),
            ({"traffic_class": "batch"}, 0),
            ({"request_id": month[3]["request_id"]}, 1),
        ):
            assert len(request_page(fiona, replace(base, **change), limit=90).rows) == count, change


def test_it_balances_the_fleets_economics(fiona, acme, globex, gateway):
    make_prices()
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        set_gpu_prices(
            SYSTEM,
            currency="USD",
            hourly={"H100": Decimal("2.6")},
            starts_at=HOUR,
            now=NOW,
            why="x",
        )
        for state in ("serving", "loading", "free"):
            GpuTime.objects.create(
                hour=HOUR,
                cluster=cluster,
                gpu_product="H100",
                state=state,
                service=service if state != "free" else None,
                gpu_ms=3_600_000,
            )
    # Two requests whose hours have no known cost: on another day, and earlier on the same one.
    elsewhere = usage(acme, at=NOW - timedelta(days=2)), usage(globex, at=NOW - timedelta(hours=3))
    load(gateway, usage(acme, service_id=service.pk), *elsewhere)
    at = HOUR + timedelta(minutes=34)
    allocate_due(at)
    with scope_of(fiona):
        assert economics(fiona, MONTH.start, MONTH.end, now=NOW).known_until == at
    allocate_due(NOW + timedelta(hours=2))
    with scope_of(fiona):
        found = economics(fiona, MONTH.start, MONTH.end, now=NOW + timedelta(hours=2))
        assert found.known_until is None, "that hour is over"
        rows = list_allocations(fiona, MONTH.start, MONTH.end)
        assert sum(a.amount for a in rows) == found.bill == Decimal("7.8")
    assert found.left_over == 0
    assert found.charged == Decimal("0.000077")
    assert found.charged_elsewhere == Decimal("0.000154")
    assert found.hours_attributed == 1
    assert [m.name for m in found.tenants] == ["acme"]
    assert sum(m.cost for m in found.models) == found.attributed
    assert {p.state for p in found.products} == {"serving", "loading", "free"}
    (h100,) = found.utilisation
    assert (h100.product, h100.used, h100.whole) == ("H100", found.attributed, found.bill)
    assert 0 < h100.share == found.attributed / found.bill < 1


def test_it_counts_what_is_not_complete(fiona, acme, gateway):
    load(gateway, usage(acme, model="unheard-of"))
    ingest(gateway, batch(usage(acme), usage(acme, tenant_id=999_999)), now=NOW)
    with scope_of(fiona):
        found = completeness(fiona, MONTH.start, MONTH.end)
    assert found.events == 1
    assert found.quarantined == {"unknown_tenant": 1}
    assert found.hours_to_roll_up == 1
    assert found.unpriced_models == ("unheard-of",)
    assert not found.is_complete


@given(hours=st.integers(0, 100), length=st.integers(0, 100))
def test_it_cuts_a_range_into_whole_days_and_edges_without_gap(hours, length):
    start = NOW.replace(hour=0, minute=0) + timedelta(hours=hours)
    end = start + timedelta(hours=length)
    cut = edges(start, end)
    covered = []
    for n in range(250):
        at = NOW.replace(hour=0, minute=0) + timedelta(hours=n)
        by_day = cut["first"] <= at.date() < cut["last"]
        by_edge = cut["start"] <= at < cut["first_at"] or cut["last_at"] <= at < cut["end"]
        assert not (by_day and by_edge)
        covered.append(by_day or by_edge)
        assert covered[-1] == (start <= at < end), (at, cut)


@pytest.mark.parametrize("by", [(), ("day",), ("tenant_id",), ("model",), ("day", "model")])
@pytest.mark.parametrize("cut", [(0, 0), (5, 7), (24, 0), (3, 24 * 29)])
@pytest.mark.parametrize("change", [{}, {"model": "chat"}, {"meter": "cached"}])
def test_it_reads_the_same_sums_from_totals(month, by, cut, change):
    wanted = replace(
        MONTH,
        start=MONTH.start + timedelta(hours=cut[0]),
        end=MONTH.end - timedelta(hours=cut[1]),
        **change,
    )
    with fleet_scope():
        fine = {s.key: s.amount for s in sum_charges(wanted, by)}
        coarse = sum_amounts(wanted, by)
    assert {k: v for k, v in coarse.items() if v} == {k: v for k, v in fine.items() if v}


def test_it_counts_a_range_the_same_by_days_and_by_hours(fiona, month):
    with scope_of(fiona):
        whole = completeness(fiona, MONTH.start, MONTH.end)
        cut = MONTH.start + timedelta(days=15, hours=5)
        parts_of = [completeness(fiona, MONTH.start, cut), completeness(fiona, cut, MONTH.end)]
    assert whole.events == sum(p.events for p in parts_of) == 82
    assert whole.prompt_tokens == sum(p.prompt_tokens for p in parts_of) == 8_200


def test_it_refuses_to_group_by_what_is_no_field():
    with pytest.raises(ValueError, match="cannot group"):
        sum_charges(MONTH, by=("1; DROP TABLE charge",))


def days(amount, count=28, weekend=None, today=date(2026, 11, 20)):
    found = {}
    for n in range(1, count + 1):
        day = today - timedelta(days=n)
        low = weekend is not None and day.weekday() >= 5
        found[day] = Decimal(weekend if low else amount)
    return found


def run(found, today=date(2026, 11, 20), so_far=0):
    return forecast(found, today=today, today_so_far=Decimal(so_far), month_end=date(2026, 12, 1))


def test_it_forecasts_a_steady_month_exactly():
    found = run(days(10))
    assert (found.amount, found.low, found.high) == (300, 300, 300)


def test_it_follows_the_rhythm_of_the_week():
    found = run(days(10, weekend=2))
    weekdays = sum(date(2026, 11, d).weekday() < 5 for d in range(1, 31))
    assert found.amount == pytest.approx(weekdays * 10 + (30 - weekdays) * 2, abs=Decimal("0.1"))


def test_it_counts_a_day_that_is_already_above_its_forecast():
    assert run(days(10), so_far=50).amount == 340


def test_it_says_nothing_from_two_days():
    assert run(days(10, count=2)) is None
    assert run({}) is None


def test_it_forecasts_zero_from_quiet_days():
    assert run(days(0)).amount == 0


@given(
    amounts=st.lists(st.integers(0, 10**9), min_size=3, max_size=60),
    so_far=st.integers(0, 10**9),
)
def test_it_never_forecasts_less_than_what_is_charged(amounts, so_far):
    today = date(2026, 11, 20)
    found = {today - timedelta(days=n): Decimal(a) for n, a in enumerate(amounts, start=1)}
    result = run(found, so_far=so_far)
    charged = sum(a for day, a in found.items() if day.month == 11) + so_far
    assert result.low >= charged - Decimal("0.01")
    assert result.low <= result.amount + Decimal("0.01")
    assert result.amount <= result.high
