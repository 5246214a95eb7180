"""The forecast: its band holds as often as it says, and what a contract owes is part of it."""

import json
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.actions.ingest import ingest
from billing.queries.budgets import tenant_budgets
from billing.queries.money import find_tenant, tenant_month
from billing.rules.budget_ahead import ahead_of, thresholds_of
from billing.rules.forecast import METHOD, Forecast, forecast
from billing.rules.forecast_contract import Pool, grown, scenario, with_contract
from billing.rules.prices.kinds import read_terms
from billing.rules.rating import Period
from billing.rules.tariffs import BookVersion, Tariff
from tenants.base.scope import scope_of
from tests.billing.factories import NOW, load, make_prices, settle, usage
from tests.billing.test_budgets import make_budget
from tests.billing.test_kept_prefixes import report
from tests.billing.test_month_rating import sign

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)
FIRST, TODAY, END = date(2026, 11, 1), date(2026, 11, 20), date(2026, 12, 1)
PERIOD = Period(
    datetime(2026, 11, 1, tzinfo=ZoneInfo("UTC")),
    datetime(2026, 12, 1, tzinfo=ZoneInfo("UTC")),
    seen_at=datetime(2026, 11, 20, 12, tzinfo=ZoneInfo("UTC")),
)
WEEK = (1.2, 1.1, 1.15, 1.05, 1.0, 0.7, 0.6)
MONTHS = 200


@pytest.mark.parametrize("history", [14, 30, 56])
@pytest.mark.parametrize("day", [3, 10, 20, 27])
def test_its_band_holds_about_four_of_five_months(day, history):
    """Simulated months with a week's rhythm and days that stray by a fifth."""
    held = sum(_holds(random.Random(seed), day, history) for seed in range(MONTHS))
    assert 0.74 <= held / MONTHS <= 0.93


def _holds(chance: random.Random, day: int, history: int) -> bool:
    start = FIRST - timedelta(days=history)
    days = {
        at: Decimal(str(round(max(0, 100 * WEEK[at.weekday()] * chance.gauss(1, 0.2)), 2)))
        for at in (start + timedelta(days=n) for n in range(history + 30))
    }
    today = FIRST.replace(day=day)
    found = forecast(days, today=today, today_so_far=days[today] / 2, month_end=END)
    whole = sum(amount for at, amount in days.items() if at.month == 11)
    return found.low <= whole <= found.high


def steady(amount=10, so_far=10) -> tuple[Forecast, dict[date, Decimal]]:
    """Ten a day until today, with what there is of this month."""
    days = {TODAY - timedelta(days=n): Decimal(amount) for n in range(1, 41)}
    found = forecast(days, today=TODAY, today_so_far=Decimal(so_far), month_end=END)
    done = {day: of for day, of in days.items() if day >= FIRST} | {TODAY: Decimal(so_far)}
    return found, done


def contract(**lines: str) -> Tariff:
    by_month = {("", name, "", ""): read_terms(text) for name, text in lines.items()}
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
    return Tariff([], [BookVersion(1, "USD", start, None, {}, {}, by_month)])


@pytest.mark.parametrize(
    ("lines", "charged", "want", "owed"),
    [
        ({}, 0, 300, 0),
        ({"fee": "flat 25"}, 0, 325, 25),
        ({"fee": "flat 25"}, 25, 325, 25),
        ({"commitment": "commitment 500"}, 0, 500, 200),
        ({"commitment": "commitment 200"}, 0, 300, 0),
        ({"commitment": "commitment 500", "fee": "flat 25"}, 25, 525, 225),
    ],
)
def test_fees_and_what_is_missing_to_a_minimum_are_expected(lines, charged, want, owed):
    found, done = steady()
    whole = with_contract(
        found, contract(**lines), PERIOD, done=done, charged=Decimal(charged), zone="UTC"
    )
    assert (whole.amount, whole.contract) == (want, owed)
    assert whole.low == whole.high == want, "steady days have no band"
    spent = sum((amount for _, amount in whole.by_day), ZERO)
    assert whole.amount - spent + whole.today_so_far == whole.so_far


def test_a_minimum_makes_the_band_narrow_from_below():
    found, done = steady()
    wide = Forecast(Decimal(300), Decimal(250), Decimal(550), 40, found.by_day, found.so_far)
    tariff = contract(commitment="commitment 500")
    whole = with_contract(wide, tariff, PERIOD, done=done, charged=ZERO, zone="UTC")
    assert (whole.low, whole.amount, whole.high) == (500, 500, 550)
    assert sum(scenario(wide, done, Decimal(550)).values()) == pytest.approx(550)


def test_packages_cost_what_the_whole_month_opens():
    tokens, done = steady(amount=1_000, so_far=1_000)
    pool = Pool(read_terms("package 8000:40"), tokens.so_far)
    assert (tokens.so_far, tokens.amount) == (20_000, 30_000)
    money = {day: Decimal(6) for day in done}  # 120: three packages
    found = grown(tokens, money, [pool])
    assert found is not None
    assert found.amount == 160, "the fourth package will be opened, and no part of a fifth"
    assert found.so_far == 120
    assert grown(steady(0, 0)[0], {}, [pool]) is None


@pytest.mark.parametrize("step", ["0.001", "0.000001"])
def test_a_quantity_with_decimals_is_no_whole_number_of_units(step):
    """Of half a GiB-hour kept so far, rounded to none or one, the rest was priced as something
    else."""
    tokens, done = steady()
    pool = Pool(read_terms("tiered 1:4 rest:2"), Decimal("0.4"), Decimal(step))
    money = dict.fromkeys(done, Decimal(0)) | {TODAY: Decimal("1.6")}
    found = grown(tokens, money, [pool])
    assert found is not None
    half_more = tokens.amount / tokens.so_far
    assert found.amount == Decimal("1.6") * half_more == Decimal("2.4")


def test_a_budget_takes_its_part_of_the_month():
    found, _ = steady()
    half = ahead_of(found, Decimal(100), Decimal(120))
    assert half is not None
    assert (half.amount, half.runs_out) == (150, date(2026, 11, 24))
    assert ahead_of(found, Decimal(100), Decimal(151)).runs_out is None
    assert ahead_of(None, Decimal(1), Decimal(2)) is None
    rows = thresholds_of(found, Decimal(100), Decimal(120), [50, 90])
    assert [(t.percent, t.passed, t.expected) for t in rows] == [
        (50, True, None),
        (90, False, date(2026, 11, 22)),
        (100, False, date(2026, 11, 24)),
    ]


MILLION = {"completion_tokens": 1_000_000, "prompt_tokens": 0, "cached_tokens": 0}  # 1.50


@pytest.fixture
def busy(acme, gateway):
    make_prices()
    load(gateway, *(usage(acme, at=NOW - timedelta(days=n), **MILLION) for n in range(12)))
    return acme


def test_a_tenants_forecast_has_the_minimum_of_its_contract(fiona, busy):
    with scope_of(fiona):
        before = tenant_month(fiona, "acme", now=NOW).forecast
    sign(
        busy, ("", "commitment", "commitment 1000"), starts_at=NOW.replace(day=1, hour=0, minute=0)
    )
    with scope_of(fiona):
        month = tenant_month(fiona, "acme", now=NOW)
    assert before.amount < 100
    assert before.contract == 0
    assert abs(month.forecast.amount - 1000) < Decimal("0.1")
    assert month.forecast.method == METHOD
    assert [b.is_contract for b in month.books] == [True, False]


def test_tiers_are_forecast_at_the_quantity_of_the_month(fiona, busy):
    """The rest is free from ten million tokens on: what is owed does not grow any more."""
    tiers = "tiered 10000000:1.5 rest:0"
    start = NOW.replace(day=1, hour=0, minute=0)
    sign(busy, ("chat", "completion", tiers), starts_at=start)
    settle(NOW)
    with scope_of(fiona):
        found = tenant_month(fiona, "acme", now=NOW)
    assert found.forecast.amount == found.charged == 15


def test_token_budgets_are_forecast_and_say_when_they_end(fiona, busy):
    make_budget(busy, None, monthly_output_tokens=13_000_000)
    with scope_of(fiona):
        (found,) = tenant_budgets(fiona, find_tenant(fiona, "acme"), now=NOW)
    assert found.use.spent == 12_000_000
    assert found.ahead.amount > 13_000_000
    assert NOW.date() < found.ahead.runs_out <= NOW.date() + timedelta(days=2)


def test_what_is_kept_of_prefixes_is_forecast_at_the_quantity_of_the_month(fiona, busy, gateway):
    """The first three GiB-hours of the month are paid for, twelve are kept: nothing is added."""
    tiers = "tiered 3:10 rest:0"
    start = NOW.replace(day=1, hour=0, minute=0)
    sign(busy, ("chat", "kept_prefix", tiers), starts_at=start)
    hours = [NOW.replace(minute=0) - timedelta(days=n) for n in range(12)]
    body = json.dumps([report(busy, 1, start=hour) for hour in hours]).encode()
    assert ingest(gateway, body, now=NOW).accepted == 12
    settle(NOW)
    with scope_of(fiona):
        month = tenant_month(fiona, "acme", now=NOW)
    assert month.charged == 30 + 18
    of_tokens = month.forecast.amount - 30
    assert 18 < of_tokens < 40
    assert abs(of_tokens / 18 - Decimal("1.8")) < Decimal("0.3"), "what grows is the rest alone"
