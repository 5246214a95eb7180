"""Node prices: parts add up to the rate, and each hour of a GPU is priced by its own node."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.node_prices import draft_sheet, edit_sheet, set_gpu_prices
from billing.actions.pool_costs import price_pools
from billing.models import GpuPrice, GpuPriceSheet
from billing.rules.allocation import GpuPool
from billing.rules.node_lines import fault_of_line, faults_of_lines, read_lines
from billing.rules.node_prices import (
    HOURS_OF_MONTH,
    NodeLine,
    PayKind,
    exact_parts,
    line_for,
    rate_of,
)
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tests.billing.factories import HOUR, NOW, SYSTEM

HOUR_MS = 3_600_000
money = st.integers(0, 10**11).map(lambda n: Decimal(n).scaleb(-4))
months = st.integers(1, 240).map(Decimal)
owned = st.builds(
    lambda purchase, part, months, watts, pue, kwh, hosting: NodeLine(
        "H100",
        PayKind.OWNED,
        {
            "purchase": purchase, "residual": purchase * part / 100, "months": months,
            "watts": watts, "pue": pue, "kwh": kwh, "hosting": hosting,
        },
    ),
    money, st.integers(0, 100), months, st.integers(0, 2000).map(Decimal),
    st.integers(100, 300).map(lambda n: Decimal(n) / 100), money, money,
)  # fmt: skip
reserved = st.builds(
    lambda upfront, months, hourly: NodeLine(
        "H100", PayKind.RESERVED, {"upfront": upfront, "months": months, "hourly": hourly}
    ),
    money, months, money,
)  # fmt: skip


@given(line=st.one_of(owned, reserved))
def test_the_parts_add_up_to_the_rate_that_was_rounded_once(line):
    rate = rate_of(line)
    assert sum(part for _, part in rate.parts) == rate.hourly
    exact = exact_parts(line)
    assert abs(Fraction(rate.hourly) - sum(exact.values())) <= Fraction(1, 2 * 10**12)
    for name, part in rate.parts:
        assert abs(Fraction(part) - exact[name]) < Fraction(1, 10**12)


@given(line=owned)
def test_depreciation_over_the_life_is_what_was_paid_less_what_is_left(line):
    life = int(line.term("months")) * HOURS_OF_MONTH
    depreciation = exact_parts(line).get("depreciation", Fraction(0))
    assert depreciation * life == Fraction(line.term("purchase")) - Fraction(line.term("residual"))


@given(line=reserved)
def test_an_upfront_payment_is_spread_over_its_term(line):
    parts = exact_parts(line)
    hours = int(line.term("months")) * HOURS_OF_MONTH
    assert parts.get("upfront", 0) * hours == Fraction(line.term("upfront"))


def test_owned_hardware_costs_its_depreciation_power_and_hosting():
    text = "H100, owned, purchase=29200, residual=2920, months=36"
    (line,) = read_lines(f"{text}, watts=700, pue=1.3, kwh=0.20, hosting=73")
    assert dict(rate_of(line).parts) == {
        "depreciation": Decimal(1),
        "power": Decimal("0.182"),
        "hosting": Decimal("0.1"),
    }
    assert read_lines(line.text) == [line]


EVERY = NodeLine("H100", PayKind.ON_DEMAND, {"hourly": Decimal(4)})
SPOT = NodeLine("H100", PayKind.SPOT, {"hourly": Decimal(1)}, capacity="spot")
HERE = NodeLine("H100", PayKind.ON_DEMAND, {"hourly": Decimal(3)}, cluster="dc1")
POOL = NodeLine("H100", PayKind.ON_DEMAND, {"hourly": Decimal(2)}, "dc1", "a")


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (("dc2", "", "on_demand"), EVERY),
        (("dc2", "", "spot"), SPOT),
        (("dc1", "", "spot"), HERE),
        (("dc1", "a", "spot"), POOL),
        (("dc2", "a", ""), EVERY),
    ],
)
def test_the_line_that_says_most_of_a_node_holds(nodes, expected):
    assert line_for([EVERY, SPOT, HERE, POOL], "H100", *nodes) == expected
    assert line_for([EVERY, SPOT, HERE, POOL], "A100", *nodes) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("H100, owned, purchase=1", "needs months"),
        ("H100, owned, purchase=1, months=0", "at least 1"),
        ("H100, owned, purchase=1, months=1.5", "whole number"),
        ("H100, owned, purchase=1, residual=2, months=1", "more than purchase"),
        ("H100, owned, purchase=1, months=1, pue=0.9", "pue is at least 1"),
        ("H100, spot, hourly=1, months=2", "has no months"),
        ("H100, spot, hourly=-1", "not between"),
        ("H100, spot, hourly=NaN", "not between"),
        ("H100, spot, hourly=1, capacity=cheap", "capacity is one of"),
    ],
)
def test_it_refuses_a_line_that_cannot_hold(text, fault):
    assert fault in fault_of_line(read_lines(text)[0])


def test_it_refuses_two_lines_for_the_same_nodes_and_what_is_no_line():
    assert "same nodes" in faults_of_lines([EVERY, EVERY])[0]
    for text in ("H100", "H100, rented", "H100, spot, hourly", "H100, spot, hourly=1, hourly=2"):
        with pytest.raises(ValueError, match="Line 1"):
            read_lines(text)


def sheet_of(*lines):
    with fleet_scope():
        return set_gpu_prices(
            SYSTEM, currency="USD", lines=lines, starts_at=HOUR - timedelta(days=1), now=NOW,
            why="tests",
        )  # fmt: skip


def pool(ms, capacity="on_demand", state="free"):
    return GpuPool("dc1", "H100", state, 0, "", ms, "a", capacity)


def test_it_prices_each_pool_by_its_own_nodes(db):
    sheet = sheet_of(EVERY, SPOT)
    pools = [pool(HOUR_MS), pool(HOUR_MS, "spot"), GpuPool("dc1", "A100", "free", 0, "", 5)]
    with fleet_scope():
        found = price_pools(sheet, pools, HOUR, NOW)
    assert [p.cost for p in found] == [Decimal(4), Decimal(1), None]


def test_a_commitment_is_paid_whether_used_or_not(db):
    line = NodeLine(
        "H100",
        PayKind.RESERVED,
        {"upfront": Decimal(7300), "months": Decimal(10), "gpus": Decimal(4)},
        capacity="reserved",
    )
    sheet = sheet_of(line)
    with fleet_scope():
        found = price_pools(sheet, [pool(HOUR_MS, "reserved")], HOUR, HOUR + timedelta(hours=2))
        half = price_pools(sheet, [], HOUR, HOUR + timedelta(minutes=30))
    assert [(p.pool.state, p.cost) for p in found] == [("free", Decimal(1)), ("unused", Decimal(3))]
    assert sum(p.cost for p in half) == Decimal(2)


def test_a_draft_is_edited_and_what_holds_never_changes(db):
    with fleet_scope():
        draft = draft_sheet(SYSTEM, currency="USD", lines=[EVERY])
        edit_sheet(SYSTEM, draft.number, currency="EUR", lines=[SPOT, HERE], why="better")
        assert GpuPrice.objects.filter(sheet=draft).count() == 2
        with pytest.raises(Invalid):
            draft_sheet(SYSTEM, currency="USD", lines=[])
    sheet = sheet_of(EVERY)
    with fleet_scope():
        with pytest.raises(Conflict):
            edit_sheet(SYSTEM, sheet.number, currency="EUR", lines=[SPOT])
        with pytest.raises(DatabaseError), transaction.atomic():
            GpuPrice.objects.filter(sheet=sheet).update(hourly=1)


def test_sheets_that_hold_never_overlap(db):
    first, second = sheet_of(EVERY), sheet_of(SPOT)
    with fleet_scope():
        first.refresh_from_db()
        assert first.effective.isempty
        whole = GpuPriceSheet.objects.filter(pk=first.pk)
        with pytest.raises(DatabaseError), transaction.atomic():
            whole.update(effective=second.effective)
        assert GpuPrice.objects.aggregate(s=Sum("hourly"))["s"] == 5
