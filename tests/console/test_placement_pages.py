"""Pages about places: changed nodes, queues of Kueue, rollouts that wait for each other."""

import re
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import NodeDrift
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.console.calendar_scene import furnish_calendar
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(scene: SimpleNamespace) -> SimpleNamespace:
    return furnish_calendar(scene, timezone.now())


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_changed_node_is_shown_with_author_meaning_and_way_out(olga: Client):
    for address in ("/nodes/", "/clusters/ams-1/"):
        text = text_of(olga, address)
        assert "kubectl-label (Update)" in text
        assert "2 replicas of ours" not in text  # 4 run on it: one of each service
        assert "a release that names h200-sxm finds no place here any more" in text
        line = "kubectl label node h200-sxm-00 nvidia.com/gpu.product=h200-sxm --overwrite"
        assert line in text
    assert "2 nodes were changed in the cluster" in text_of(olga, "/")


def test_it_is_accepted_with_a_reason_by_an_operator(olga: Client, scene: SimpleNamespace):
    drift = NodeDrift.objects.get(kind="label")
    address, seen = f"/nodes/drift/{drift.pk}/accept/", {"live": drift.live}
    assert signed_in(scene.vic).post(address, seen | {"why": "mine"}).status_code == 403
    assert olga.post(address, seen | {"why": ""}).status_code == 422
    assert olga.post(address, seen | {"why": "cards are shared"})["Location"] == "/nodes/"
    assert "kubectl label node h200-sxm-00" not in text_of(olga, "/nodes/")
    with fleet_scope():
        assert AuditEvent.objects.get(verb="node.accept").why == "cards are shared"


def test_who_may_not_choose_reads_it(scene: SimpleNamespace):
    text = text_of(signed_in(scene.vic), "/nodes/")
    assert "kubectl taint node l40s-01 team:NoSchedule-" in text
    assert "Accept as it is" not in text


def test_the_cluster_page_tells_what_its_queues_let_in(olga: Client):
    text = text_of(olga, "/clusters/ams-1/")
    assert re.search(r"default serving h200 .* 16 24 18 2 4 1", text)


def test_the_overview_tells_who_waits_for_whom(olga: Client, scene: SimpleNamespace):
    text = text_of(olga, "/")
    held = [f"RO-{scene.rollouts[name].pk}" for name in ("analyzing", "paused")]
    assert "Queue of ams-1" in text
    assert re.search(rf"rerank r1 .* Waits {held[0]} , {held[1]} 2 h200-sxm missing", text)


def test_the_plan_tells_what_the_canary_will_be_asked(olga: Client, scene: SimpleNamespace):
    text = text_of(olga, f"/new/rollout/?release={scene.spare.pk}")
    assert "What the canary will be asked" in text
    assert "put to the first replicas before any traffic" in text
