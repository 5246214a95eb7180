"""The page of nodes: how each is paid for, to those who may see money."""

import pytest
from django.utils import timezone

from fleet.models import GpuInterval, GpuUnit, Node
from tenants.base.scope import fleet_scope
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(scene):
    with fleet_scope():
        found = Node.objects.select_related("cluster").filter(gpu_product="h200-sxm").first()
        unit = GpuUnit.objects.create(cluster=found.cluster, node=found.name, slot=0)
        GpuInterval.objects.create(
            unit=unit, product="h200-sxm", node_pool="gpu-a", capacity="reserved", state="free",
            starts_at=timezone.now(),
        )  # fmt: skip
    return found


def test_it_tells_pool_capacity_and_the_price_of_its_line(scene, node):
    page = browser(scene.olga).get("/nodes/")
    row = next(r for r in page.context["nodes"] if r[0].name == node.name and r[2])
    text = page.content.decode()
    assert "gpu-a, reserved" in text
    assert row[2].line is not None
    assert row[2].line.line.text in text


def test_the_price_is_for_those_who_may_see_money(scene, node):
    text = browser(scene.watcher).get("/nodes/").content.decode()
    assert "gpu-a, reserved" in text
    assert "An hour of a GPU" not in text
