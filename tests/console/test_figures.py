from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from console import figures

NOW = datetime(2026, 11, 23, 14, 32, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.083, "83 ms"),
        (4.25, "4.25 s"),
        (59.6, "60 s"),
        (184, "3 min 4 s"),
        (timedelta(hours=5, minutes=20), "5 h 20 min"),
        (timedelta(hours=5, seconds=20), "5 h"),
        (timedelta(days=5, hours=3), "5 d 3 h"),
        (-90, "−1 min 30 s"),
    ],
)
def test_it_writes_a_length_of_time_in_its_two_greatest_units(value, want):
    assert figures.duration(value) == want


@pytest.mark.parametrize(
    ("ratio", "want"),
    [(None, "–"), (0, "0.0 %"), (0.0001, "< 0.1 %"), (0.9647, "96.5 %"), (1.221, "122.1 %")],
)
def test_it_never_writes_a_small_share_as_zero(ratio, want):
    assert figures.percent(ratio) == want


@pytest.mark.parametrize(
    ("ratio", "share", "change"),
    [
        (None, "–", "–"),
        (0, "0.0 %", "0.0 %"),
        (0.25, "25.0 %", "+25.0 %"),
        (-0.25, "−25.0 %", "−25.0 %"),
        (0.0004, "< 0.1 %", "< +0.1 %"),
        (Decimal("-0.0004"), "> −0.1 %", "> −0.1 %"),
    ],
)
def test_a_change_has_its_sign_and_none_is_written_as_nothing(ratio, share, change):
    assert (figures.percent(ratio), figures.change(ratio)) == (share, change)


def test_what_is_below_zero_has_a_minus_and_no_hyphen():
    below = Decimal("-1234.5")
    written = figures.number(below, 1), figures.count(below), figures.exact(below)
    assert written == ("−1,234.5", "−1,234", "−1,234.5")


@pytest.mark.parametrize(
    ("amount", "currency", "want"),
    [
        (Decimal("8171.444"), "USD", "$8,171.44"),
        (Decimal("-106"), "USD", "−$106.00"),
        (Decimal("3.1"), "CHF", "3.10 CHF"),
        (Decimal("3100.4"), "JPY", "3,100 JPY"),
        (Decimal("3.1"), "BHD", "3.100 BHD"),
        (None, "USD", "–"),
    ],
)
def test_it_writes_money_with_its_currency(amount, currency, want):
    assert figures.money(amount, currency) == want


@pytest.mark.parametrize(
    ("seconds", "want"),
    [(4, "4 s ago"), (0, "0 s ago"), (3060, "51 min ago"), (5640, "1 h 34 min ago"),
     (5 * 86400, "5 d ago"), (-300, "in 5 min")],
)  # fmt: skip
def test_it_tells_an_age(seconds, want):
    assert figures.age(NOW - timedelta(seconds=seconds), NOW) == want


@pytest.mark.parametrize(
    ("moment", "want"),
    [
        (NOW - timedelta(hours=1), "13:32"),
        (NOW - timedelta(days=3), "20 Nov 14:32"),
        (NOW - timedelta(days=400), "19 Oct 2025"),
    ],
)
def test_it_writes_a_moment_as_short_as_today_allows(moment, want):
    assert figures.moment(moment, NOW) == want


@pytest.mark.parametrize(
    ("octets", "want"), [(12, "12 B"), (2048, "2.0 KiB"), (3 * 2**40, "3.0 TiB")]
)
def test_it_writes_a_size(octets, want):
    assert figures.size(octets) == want


def test_exact_digits_say_something_and_counts_have_no_decimals():
    given = ("68159.000000000000", "121.154197780000", "-220205363025.0", "0E-12", "500")
    shown = ["68,159", "121.15419778", "−220,205,363,025", "0", "500"]
    assert [figures.exact(Decimal(text)) for text in given] == shown
