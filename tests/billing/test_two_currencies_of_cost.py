"""Node prices that change their currency: each figure of costs is of one currency alone."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.queries.bill_parts import bill_parts
from billing.queries.economics import economics, product_times
from billing.queries.gpu_hours import gpu_hours
from fleet.models import Cluster, GpuTime
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM

NEXT = HOUR + timedelta(hours=1)
LATER = HOUR + timedelta(hours=2, minutes=5)


@pytest.fixture
def two_currencies(db):
    """An hour of a GPU for 2 USD, then one for 300 JPY."""
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        for at, currency, hourly in ((HOUR, "USD", "2"), (NEXT, "JPY", "300")):
            set_gpu_prices(
                SYSTEM, currency=currency, hourly={"H100": Decimal(hourly)}, starts_at=at, now=NOW,
                why="x",
            )  # fmt: skip
            GpuTime.objects.create(
                hour=at, cluster=cluster, gpu_product="H100", state="free", gpu_ms=3_600_000
            )
    allocate_due(LATER)


@pytest.mark.usefixtures("two_currencies")
def test_parts_of_the_bill_add_up_to_it_where_an_hour_before_had_another_currency():
    with fleet_scope():
        found = economics(SYSTEM, HOUR, LATER, now=LATER)
        assert (found.currency, found.bill, found.left_over) == ("JPY", 300, 0)
        assert sum(of.amount for of in bill_parts(SYSTEM, found)) == found.whole
        assert sum(of.cost or 0 for of in found.products) == found.bill
        (hours,) = gpu_hours(SYSTEM, found)
    assert (hours.cost, hours.gpu_hours, hours.not_serving) == (300, 1, 300)


@pytest.mark.usefixtures("two_currencies")
def test_times_of_products_tell_which_currency_their_cost_has():
    with fleet_scope():
        times, _ = product_times(HOUR, LATER)
    assert [(of.gpu_ms, of.cost, of.currency) for of in times] == [
        (3_600_000, 2, "USD"),
        (3_600_000, 300, "JPY"),
    ]
