"""An hour of a GPU on top is priced by the lines of the nodes that it can come to."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.node_prices import set_gpu_prices
from billing.queries.gpu_prices import gpu_prices, node_prices
from billing.rules.node_lines import read_lines
from fleet.models import Cluster, GpuInterval, GpuUnit
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM

pytestmark = pytest.mark.django_db
LINES = """H100, on_demand, hourly=4
H100, spot, hourly=1, capacity=spot
H100, owned, purchase=35040, months=48, watts=1000, kwh=0.5, pool=ours"""


@pytest.fixture
def cluster(db):
    with fleet_scope():
        set_gpu_prices(
            SYSTEM, currency="USD", lines=read_lines(LINES), starts_at=HOUR - timedelta(days=1),
            now=NOW, why="a test",
        )  # fmt: skip
        return Cluster.objects.create(slug="ams", name="Amsterdam", region="eu", namespace="models")


def node(cluster, name, *, pool="", capacity="on_demand", free=0, busy=0):
    for slot in range(free + busy):
        unit = GpuUnit.objects.create(cluster=cluster, node=name, slot=slot)
        GpuInterval.objects.create(
            unit=unit, product="H100", node_pool=pool, capacity=capacity,
            state="free" if slot < free else "serving", starts_at=NOW - timedelta(hours=5),
        )  # fmt: skip


def hourly(products=("H100",), **narrow):
    with fleet_scope():
        return gpu_prices(SYSTEM, products, NOW, **narrow)


def test_without_nodes_it_is_the_price_of_any_node(cluster):
    assert hourly()["H100"].hourly == 4


def test_it_is_the_price_of_the_nodes_that_have_free_gpus(cluster):
    with fleet_scope():
        node(cluster, "spot-1", capacity="spot", free=3)
        node(cluster, "ours-1", pool="ours", capacity="owned", free=1)
        node(cluster, "full-1", busy=8)
    found = hourly(cluster="ams")["H100"]
    assert found.hourly == (3 * 1 + Decimal("1.5")) / 4
    assert {line.kind.value for line in found.lines} == {"spot", "owned"}
    assert hourly(cluster="elsewhere")["H100"].hourly == 4


def test_where_none_is_free_it_is_that_of_all_of_them(cluster):
    with fleet_scope():
        node(cluster, "spot-1", capacity="spot", busy=2)
    assert hourly()["H100"].hourly == 1


def test_half_a_price_is_no_price(cluster):
    assert hourly(("H100", "B200")) == {}
    assert hourly(()) == {}


def test_each_node_has_its_line_with_its_parts(cluster):
    with fleet_scope():
        node(cluster, "ours-1", pool="ours", capacity="owned", free=1)
        node(cluster, "plain-1", free=1)
        found = node_prices(SYSTEM, NOW)
        before = node_prices(SYSTEM, NOW - timedelta(days=9))
    ours = found["ams", "ours-1"]
    assert dict(ours.line.rate.parts) == {"depreciation": 1, "power": Decimal("0.5")}
    assert ours.node.node_pool == "ours"
    assert found["ams", "plain-1"].line.rate.hourly == 4
    assert before["ams", "plain-1"].line is None, "nobody had given it a price"
