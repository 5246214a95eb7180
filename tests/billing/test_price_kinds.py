"""Price kinds: tables of what each charges, and what must hold for any terms and any use."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.rules.prices import PriceLine, faults_of_prices, read_line
from billing.rules.prices.factor import factor_at
from billing.rules.prices.kinds import fault_of_terms, parts_of, read_terms, say_terms
from billing.rules.prices.terms import Kind, Terms, Tier, Use, Window
from billing.rules.tariffs import Tariff, version_of

D = Decimal
START = datetime(2026, 10, 1, tzinfo=UTC)
quickly = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # other processes share the cores


def cost(terms, quantity, *, before=0, total=None):
    use = Use(D(before), D(quantity), D(total if total is not None else before + quantity))
    return sum(p.quantity * p.unit_price for p in parts_of(terms, use))


@pytest.mark.parametrize(
    ("text", "quantity", "owed"),
    [
        ("0.5", 3_000_000, "1.5"),
        ("tiered 1000000:1 rest:0.5", 0, "0"),
        ("tiered 1000000:1 rest:0.5", 1_000_000, "1"),
        ("tiered 1000000:1 rest:0.5", 3_000_000, "2"),
        ("tiered 1000000:0 2000000:1 rest:0.5", 3_000_000, "1.5"),
        ("volume 1000000:1 rest:0.5", 1_000_000, "1"),
        ("volume 1000000:1 rest:0.5", 1_000_001, "0.5000005"),
        ("package 1000000:2", 0, "0"),
        ("package 1000000:2", 1, "2"),
        ("package 1000000:2", 1_000_000, "2"),
        ("package 1000000:2", 1_000_001, "4"),
    ],
)
def test_it_charges_a_months_use(text, quantity, owed):
    assert cost(read_terms(text, 1_000_000), quantity) == D(owed)


@pytest.mark.parametrize(
    ("text", "share", "spent", "owed"),
    [
        ("flat 500", "1", "0", "500"),
        ("flat 500", "0.5", "0", "250"),
        ("commitment 1000", "1", "400", "600"),
        ("commitment 1000", "1", "1000", "0"),
        ("commitment 1000", "1", "1400", "0"),
        ("commitment 1000", "0.5", "400", "100"),
        ("flat 300000", "1/3", "0", "100000"),
        ("flat 100", "1/3", "0", "33.333333333333"),
        ("commitment 300000", "1/3", "99999.9", "0.1"),
    ],
)
def test_it_charges_a_month_by_contract(text, share, spent, owed):
    parts = parts_of(read_terms(text), Use(D(0), D(0), D(spent), Fraction(share)))
    assert sum(p.quantity * p.unit_price for p in parts) == D(owed)


FACTOR = "factor Europe/Berlin mon-fri@22-6:0.5 sat-sun@0-24:0.8"


@pytest.mark.parametrize(
    ("at", "factor"),
    [
        (datetime(2026, 11, 24, 12, tzinfo=UTC), "1"),  # Tuesday noon
        (datetime(2026, 11, 24, 21, tzinfo=UTC), "0.5"),  # 22:00 in Berlin
        (datetime(2026, 11, 24, 20, tzinfo=UTC), "1"),
        (datetime(2026, 11, 25, 4, tzinfo=UTC), "0.5"),  # 5:00 of the night that began on Tuesday
        (datetime(2026, 11, 25, 5, tzinfo=UTC), "1"),
        (datetime(2026, 11, 28, 3, tzinfo=UTC), "0.5"),  # Saturday, but Friday's night
        (datetime(2026, 11, 28, 12, tzinfo=UTC), "0.8"),
        (datetime(2026, 11, 29, 23, tzinfo=UTC), "1"),  # Monday, 0:00: Sunday has no night window
        (datetime(2026, 7, 21, 20, tzinfo=UTC), "0.5"),  # summer time: 22:00
    ],
)
def test_it_takes_the_factor_of_the_zones_hour(at, factor):
    assert factor_at(read_terms(FACTOR), at) == D(factor)


tier_limits = st.lists(st.integers(1, 10**9), min_size=1, max_size=5, unique=True).map(sorted)
prices = st.decimals(0, 1000, places=6)


@st.composite
def tiers(draw):
    limits = [*draw(tier_limits), None]
    return tuple(Tier(None if at is None else D(at), draw(prices)) for at in limits)


amounts = st.integers(0, 10**9)


@quickly
@given(tiers=tiers(), parts=st.lists(amounts, min_size=1, max_size=6))
def test_tiers_cut_anywhere_add_up_to_the_whole(tiers, parts):
    terms = Terms(Kind.TIERED, tiers=tiers)
    before, summed = 0, D(0)
    for quantity in parts:
        summed += cost(terms, quantity, before=before, total=sum(parts))
        before += quantity
    assert summed == cost(terms, sum(parts))


@quickly
@given(tiers=tiers(), quantity=amounts)
def test_tiers_charge_every_unit_once(tiers, quantity):
    use = Use(D(0), D(quantity), D(quantity))
    assert sum(p.quantity for p in parts_of(Terms(Kind.TIERED, tiers=tiers), use)) == quantity


@quickly
@given(tiers=tiers(), quantities=st.lists(amounts, min_size=2, max_size=5).map(sorted))
def test_tiers_and_packages_never_cost_less_for_more(tiers, quantities):
    package = Terms(Kind.PACKAGE, D("0.5"), size=D(1000))
    for terms in (Terms(Kind.TIERED, tiers=tiers), package):
        owed = [cost(terms, q) for q in quantities]
        assert all(a <= b for a, b in pairwise(owed))


@quickly
@given(tiers=tiers(), parts=st.lists(amounts, min_size=1, max_size=5))
def test_volume_is_one_price_for_all_of_the_month(tiers, parts):
    terms, total = Terms(Kind.VOLUME, tiers=tiers), sum(parts)
    use = [parts_of(terms, Use(D(0), D(q), D(total))) for q in parts]
    assert len({p.unit_price for found in use for p in found}) == 1


@quickly
@given(size=st.integers(1, 10**6), parts=st.lists(amounts, min_size=1, max_size=6))
def test_packages_round_up_once_a_month(size, parts):
    terms, before, opened = Terms(Kind.PACKAGE, D(1), size=D(size)), 0, D(0)
    for quantity in parts:
        for part in parts_of(terms, Use(D(before), D(quantity), D(sum(parts)))):
            assert part.quantity % size == 0
            opened += part.quantity
        before += quantity
    assert 0 <= opened - sum(parts) < size


@quickly
@given(minimum=prices, spent=st.decimals(0, 2000, places=12))
def test_a_commitment_lifts_the_month_to_its_minimum(minimum, spent):
    missing = parts_of(Terms(Kind.COMMITMENT, minimum), Use(D(0), D(1), spent))
    assert spent + sum(p.quantity * p.unit_price for p in missing) == max(minimum, spent)


windows = st.builds(
    Window,
    st.tuples(st.integers(0, 6), st.integers(1, 7)).map(
        lambda p: tuple((p[0] + n) % 7 for n in range(p[1])) if p[1] < 7 else tuple(range(7))
    ),
    st.integers(0, 23),
    st.just(24),
    st.decimals(0, 100, places=3),
)
any_terms = st.one_of(
    st.builds(Terms, st.just(Kind.UNIT), prices),
    st.builds(Terms, st.just(Kind.FLAT), prices),
    st.builds(Terms, st.just(Kind.COMMITMENT), prices),
    st.builds(lambda t: Terms(Kind.TIERED, tiers=t), tiers()),
    st.builds(lambda t: Terms(Kind.VOLUME, tiers=t), tiers()),
    st.builds(lambda p, s: Terms(Kind.PACKAGE, p, size=D(10) ** s), prices, st.integers(0, 6)),
    st.builds(
        lambda w: Terms(Kind.FACTOR, zone="Asia/Kolkata", windows=tuple(w)),
        st.lists(windows, min_size=1, max_size=4),
    ),
)


@quickly
@given(terms=any_terms, per=st.sampled_from([1, 1000, 1_000_000]))
def test_what_is_said_is_read_back(terms, per):
    assert read_terms(say_terms(terms, per), per) == terms
    assert fault_of_terms(terms) == ""


def line(text, meter="prompt", model="chat", cls=""):
    return read_line(model, meter, text, cls)


USUAL = [line("0.5"), line("0.1", "cached"), line("2", "completion")]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (line("tiered 5:1"), "at least two tiers"),
        (line("tiered 5:1 6:2"), "has no limit"),
        (line("tiered 5:1 4:2 rest:1"), "above the one before"),
        (line("tiered rest:1 rest:2"), "Only the last tier"),
        (line("0.0000001"), "more than 12 decimals"),
        (line("package 3:1"), "more than 12 decimals"),
        (line("-1"), "between 0 and"),
        (line("flat 500", "fee", ""), "put it in a contract"),
        (line("factor 101", "", ""), "between 0 and 100"),
        (line("factor Mars/Base 1-2:1", "", ""), "no IANA time zone"),
        (line("factor UTC 3-3:1", "", ""), "does not go from"),
        (line("0.5", "fee"), "There is no meter"),
        (line("0.5", model=""), "Name the model"),
        (line("0.5", cls="slow"), "no traffic class"),
    ],
)
def test_it_refuses_terms_that_nobody_can_charge(more, says):
    lines = [p for p in USUAL if (p.model, p.meter) != (more.model, more.meter)]
    assert says in str(faults_of_prices([*lines, more]))


NO_PRICES = (
    *("", "cheap", "tiered 5", "package 5", "package 1.5:2", "flat", "commitment 1 2"),
    *("factor", "factor UTC", "factor UTC 1:2", "factor UTC x-y@1-2:1"),
)


@pytest.mark.parametrize("text", NO_PRICES)
def test_it_refuses_text_that_is_no_price(text):
    with pytest.raises(ValueError, match="."):
        read_terms(text)


@pytest.mark.parametrize(("digits", "price"), [("0.5", 0), ("0.5" + "0" * 30 + "1", 1)])
def test_it_rounds_a_price_with_factors_once_however_many_digits_they_have(digits, price):
    lines = {
        (("chat", "prompt", "", ""), False): read_terms("0.000001", 1_000_000),
        (("", "", "", ""), True): read_terms(f"factor {digits}"),
    }
    tariff = Tariff([version_of(1, "USD", (START, None), lines)])
    found = tariff.find(START, "chat", "prompt", "batch")
    factored = tariff.with_factors(
        found, found.terms.unit_price, START, ("chat", "prompt", "batch", "")
    )
    assert factored * 10**12 == price, "half even of 0.5 and a little more"


def test_it_takes_a_factor_beside_the_price_that_it_changes():
    assert faults_of_prices([*USUAL, line("factor 0.5", cls="batch"), line("factor 0.9")]) == {}
    assert "stands twice" in str(faults_of_prices([*USUAL, line("1")]))


def test_it_lets_a_contract_leave_meters_to_the_list():
    lines = [line("0.4"), line("flat 500", "fee", ""), line("commitment 9", "commitment", "")]
    assert faults_of_prices(lines, contract=True) == {}
    assert "no service" in str(faults_of_prices([line("flat 5", "fee")], contract=True))


def test_a_line_says_its_price_as_people_do():
    assert line("tiered 10000000:0.50 rest:0.30").text == "tiered 10000000:0.5 rest:0.3"
    assert PriceLine("chat", "request", D("2.50")).text == "2.5"
