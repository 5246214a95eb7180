"""What is far from ordinary: numbers at their ends, texts that no column takes, files of others."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.actions.cost_methods import choose_method
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.actions.reservations import reserve_gpus
from billing.actions.rollup import roll_up
from billing.models import OtherCost, UsageEvent, UsageHour, UsageQuarantine
from billing.rules import exchange, other_costs
from billing.rules.allocation import METHOD
from billing.rules.events import MOST_GPUS
from billing.rules.prices import faults_of_prices, read_line
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tests.billing.factories import NOW, SYSTEM, batch, cloud, usage
from tests.billing.test_kept_prefixes import report
from tests.billing.test_sources import named

NOON = NOW.replace(minute=0)
RESERVED = {"product": "H100", "gpus": 1, "now": NOW, "why": "x"}
HEAD = ",".join(other_costs.COLUMNS)
ROW = "2026-11-01,2026-12-01,platform,{name},,USD,720"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "most",
    [
        {"gpu_ms": 2**53, "gpus": MOST_GPUS},
        {"prompt_tokens": 2**53, "cached_tokens": 0},
        {"completion_tokens": 2**53},
    ],
)
def test_no_event_is_so_large_that_the_sums_of_an_hour_overflow(acme, globex, gateway, most):
    """Two of the first kind were more than a bigint: no hour of anybody was summed up after it."""
    many = [usage(acme, **most) for _ in range(1_100)]
    receipt = ingest(gateway, batch(*many, usage(globex)), now=NOW)
    assert receipt.accepted == 1
    assert {bad.reason for bad in receipt.quarantined} == {"bad_schema"}
    assert roll_up(NOW) == 1
    with fleet_scope():
        assert UsageHour.objects.get().tenant_id == globex.pk


@pytest.mark.django_db
def test_the_largest_events_that_are_taken_are_summed_up(acme, gateway):
    largest = {"gpu_ms": 10**9, "gpus": MOST_GPUS, "completion_tokens": 2**40}
    many = [usage(acme, prompt_tokens=2**40, cached_tokens=2**40, **largest) for _ in range(1_000)]
    assert ingest(gateway, batch(*many), now=NOW).accepted == 1_000
    assert roll_up(NOW) == 1
    with fleet_scope():
        hour = UsageHour.objects.get()
    assert (hour.gpu_ms, hour.prompt_tokens) == (10**15, 1_000 * 2**40)


@pytest.mark.django_db
@pytest.mark.parametrize("place", ["slug", "app"])
def test_a_name_that_no_column_takes_does_not_hold_back_its_batch(acme, gateway, place):
    wrong = cloud(usage(acme)) | {"data": named(acme, **{place: "ac\0me"})}
    body = json.dumps([wrong, cloud(usage(acme))]).encode()
    receipt = ingest(gateway, body, now=NOW)
    assert (receipt.accepted, len(receipt.quarantined)) == (1, 1)
    assert receipt.quarantined[0].position == 0
    with fleet_scope():
        assert UsageEvent.objects.count() == UsageQuarantine.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [
        lambda acme: cloud(usage(acme, adapter="x" * 129)),
        lambda acme: cloud(usage(acme, adapter="x" * 9_000)),
        lambda acme: report(acme, "0E-99999999"),
        lambda acme: report(acme, "0E-20000"),
    ],
)
def test_an_event_that_no_table_takes_does_not_hold_back_its_batch(acme, gateway, wrong):
    body = json.dumps([wrong(acme), cloud(usage(acme))]).encode()
    receipt = ingest(gateway, body, now=NOW)
    assert (receipt.accepted, len(receipt.quarantined)) == (1, 1)
    assert ingest(gateway, body, now=NOW).duplicates == 1


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        ("prompt", "1e30"),
        ("prompt", "9e9999999"),
        ("prompt", "tiered 10:9e9999999 rest:1"),
        ("prompt", "tiered 1e30:1 rest:1"),
        ("prompt", "package 1e30:1"),
        ("prompt", "package 1000000:9e9999999"),
        ("fee", "flat 1e30"),
        ("commitment", "commitment 9e9999999"),
        ("prompt", "factor 1e30"),
        ("prompt", "-9e9999999"),
    ],
)
def test_a_price_without_end_is_refused_with_a_sentence(meter, text):
    assert "price" in refusal("" if meter in ("fee", "commitment") else "chat", meter, text)


def refusal(model, meter, text):
    try:
        line = read_line(model, meter, text)
    except ValueError as error:
        return str(error)
    return str(faults_of_prices([line], contract=True))


@pytest.mark.parametrize(
    "row",
    [
        ROW.format(name="Nets\0"),
        ROW.format(name='"Two\nlines"'),
        ROW.format(name="Nets").replace("2026-11-01", "0001-01-01T00:00:00+05:00"),
        ROW.format(name="Nets").replace("2026-12-01", "9999-12-31T23:59:59-05:00"),
        ROW.format(name="Nets").replace("2026-11-01", "1999-12-31"),
        ROW.format(name="Nets").replace("2026-12-01", "3000-01-01"),
        ROW.format(name="Nets").replace("720", "1e9999999"),
    ],
)
def test_a_line_of_costs_that_no_table_takes_is_named(row):
    parsed = other_costs.read_file(f"{HEAD}\n{row}\n")
    assert not parsed.rows
    assert parsed.faults[0].startswith("Line ")


def test_text_in_quotes_keeps_the_ends_of_its_lines():
    """In columns that mean nothing here, as tags and descriptions of a bill."""
    text = (
        "BillingCurrency,ChargePeriodEnd,ChargePeriodStart,EffectiveCost,ProviderName,ServiceName,"
        'ChargeDescription\r\nUSD,2026-12-01,2026-11-01,7.2,Example AI,Chat,"one\r\ntwo, three"\r\n'
    )
    (row,) = other_costs.read_file("\ufeff" + text).rows
    assert (row.name, row.amount) == ("Example AI: Chat", Decimal("7.2"))


def test_a_rate_whose_source_is_no_name_is_refused():
    row = "USD,EUR,2026-11-20,E\0B,0.9217"
    parsed = exchange.read_file(f"{','.join(exchange.COLUMNS)}\n{row}\n", NOW.date())
    assert parsed.faults == [parsed.faults[0]]
    assert parsed.faults[0].startswith("Line 2")


FAR = datetime(9999, 12, 31, 23, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "ask",
    [
        lambda to, at: reserve_gpus(SYSTEM, **to, **RESERVED, starts_at=at),
        lambda to, at: reserve_gpus(SYSTEM, **to, **RESERVED, starts_at=NOON, ends_at=at),
        lambda _, at: set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal(1)}, starts_at=at, now=NOW, why="x"
        ),
        lambda _, at: choose_method(SYSTEM, METHOD, starts_at=at, now=NOW, why="x"),
    ],
)
@pytest.mark.parametrize("at", [FAR, FAR.replace(year=1)])
def test_what_holds_from_or_until_a_time_has_one_that_calendars_know(acme, ask, at):
    with fleet_scope(), pytest.raises(Invalid, match="2000 to 2999"):
        ask({"tenant_id": acme.pk}, at)


@pytest.mark.django_db
def test_a_file_with_such_a_line_leaves_nothing():
    with fleet_scope():
        before = OtherCost.objects.count()
        text = f"{HEAD}\n{ROW.format(name='Nets')}\n{ROW.format(name='N' + chr(0))}\n"
        with pytest.raises(Invalid, match="Line 3"):
            import_other_costs(SYSTEM, text, now=NOW + timedelta(hours=1))
        assert OtherCost.objects.count() == before
