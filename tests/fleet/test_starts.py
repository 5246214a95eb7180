"""Starts are kept with their pool and what kubelets said of the image, and plans read them so."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from fleet.drive.evidence import store_starts
from fleet.models import (
    EngineSample,
    GpuInterval,
    GpuUnit,
    Node,
    ObservedEvent,
    Service,
    StartSample,
    TrafficSlot,
)
from fleet.queries.plans import plan_rollout
from fleet.queries.situations import rooms_of
from fleet.queries.starts import ground_of, place_of, starts_like
from fleet.rules.phases import PlanKind
from fleet.rules.starts import Cache
from fleet.rules.traffic import DASHBOARD_SECONDS, slot_of
from tenants.base.scope import fleet_scope, scope_of
from tests.fleet.makers import make_cluster, make_deployment, make_release

pytestmark = pytest.mark.django_db
PRODUCT = "NVIDIA-H100-80GB-HBM3"
FETCHES = [{"verb": "create", "resource": "pods", "namespace": "models", "allowed": True}]
RESOURCES = {"gpu_product": PRODUCT, "gpus": 1}


@pytest.fixture
def cluster():
    now = timezone.now()
    made = make_cluster(observed_at=now)
    for name, pool, used in (("a-1", "spot", 4), ("b-1", "owned", 0)):
        Node.objects.create(
            cluster=made, name=name, gpu_product=PRODUCT, gpus_allocatable=4, gpus_used=used,
            ready=True, changed_at=now, observed_at=now,
        )  # fmt: skip
        unit = GpuUnit.objects.create(cluster=made, node=name, slot=0)
        GpuInterval.objects.create(
            unit=unit, product=PRODUCT, node_pool=pool, capacity="owned", state="free",
            starts_at=now,
        )  # fmt: skip
    return made


@pytest.fixture
def service(cluster):
    made = Service.objects.create(name="chat", cluster=cluster, replicas=2)
    first = make_release(made, resources=RESOURCES)
    make_deployment(made, first, cluster, replicas=2)
    made.current_release = first
    made.save(update_fields=["current_release"])
    return made


def start(service, release, name, node, seconds):
    """As a pass of a rollout or of the keeper stores it."""
    now = timezone.now()
    pod = SimpleNamespace(
        uid=name, name=name, node=node, created_at=now - timedelta(seconds=seconds)
    )
    store_starts(service, service.cluster, release, [pod], now)
    return StartSample.objects.get(pod_uid=name)


def say(cluster, pod, message):
    ObservedEvent.objects.create(
        cluster=cluster, uid=f"e-{pod}", at=timezone.now(), kind="Pod", name=pod, reason="Pulled",
        message=message,
    )  # fmt: skip


def test_a_start_keeps_its_node_pool_and_whether_the_image_was_there(service, cluster):
    release = service.current_release
    say(cluster, "p1", 'Successfully pulled image "x" in 200s')
    first = start(service, release, "p1", "b-1", 300)
    assert (first.node, first.node_pool, first.cache) == ("b-1", "owned", Cache.COLD)
    say(cluster, "p2", 'Container image "x" already present on machine')
    assert start(service, release, "p2", "a-1", 60).cache == Cache.WARM
    # Events come late or never: the same image and weights started there before.
    assert start(service, release, "p3", "b-1", 70).cache == Cache.WARM
    other = make_release(service, 2, digest="b" * 64, image_digest="sha256:" + "e" * 64)
    assert start(service, other, "p4", "b-1", 70).cache == ""


def test_a_start_that_ended_before_it_began_by_skewed_clocks_is_none(service):
    """A cluster's clock may be ahead of the database's: deadlines learn nothing from that."""
    now = timezone.now()
    pods = [
        SimpleNamespace(
            uid=f"p{n}", name=f"p{n}", node="a-1", created_at=now - timedelta(seconds=n)
        )
        for n in (-40, 0, 60)
    ]
    store_starts(service, service.cluster, service.current_release, pods, now)
    assert [s.seconds for s in StartSample.objects.all()] == [60.0]


def test_a_place_is_where_there_is_room_and_warm_where_the_image_ran_or_is_brought(
    service, cluster
):
    release = service.current_release
    rooms = rooms_of(cluster, None)
    spec = SimpleNamespace(
        gpus_of_pods=(1,), gpus=1, product=PRODUCT, pods_by_product={PRODUCT: (1,)}
    )
    cold = place_of(ground_of(cluster, starts_like([release])), release, spec, rooms)
    assert (cold.pools, cold.cache) == (frozenset({"owned"}), Cache.COLD)
    assert (
        place_of(
            ground_of(cluster, starts_like([release])), release, spec, rooms, fetched=True
        ).cache
        == Cache.WARM
    )
    start(service, release, "p1", "b-1", 60)
    assert (
        place_of(ground_of(cluster, starts_like([release])), release, spec, rooms).cache
        == Cache.WARM
    )
    leaving = [replace(room, leaving=4 if room.name == "a-1" else 0) for room in rooms]
    back = place_of(ground_of(cluster, starts_like([release])), release, spec, leaving, runs=True)
    assert (back.pools, back.cache) == (frozenset({"spot"}), Cache.WARM)
    StartSample.objects.update(at=timezone.now() - timedelta(days=31))
    assert (
        place_of(ground_of(cluster, starts_like([release])), release, spec, rooms).cache
        == Cache.COLD
    )


def test_the_peak_of_the_week_is_told_in_replicas(olga, service):
    now = timezone.now()
    for ago, requests in ((timedelta(days=5), 900), (timedelta(hours=3), 300)):
        with fleet_scope():
            TrafficSlot.objects.create(
                seconds=DASHBOARD_SECONDS, slot=slot_of(now - ago, DASHBOARD_SECONDS), tenant_id=1,
                service_id=service.pk, traffic_class="batch", outcome="served", requests=requests,
            )  # fmt: skip
    second = make_release(
        service, 2, digest="b" * 64, resources=RESOURCES, arguments=["--max-num-seqs=12"]
    )
    assert planned(olga, service, second).situation.peak.in_flight is None
    at = slot_of(now - timedelta(hours=3), DASHBOARD_SECONDS) + timedelta(seconds=20)
    for uid, running in (("p1", 4.0), ("p2", 6.0)):
        EngineSample.objects.create(
            pod_uid=uid, service=service, release_id=service.current_release_id, at=at,
            running=running, waiting=0.0,
        )  # fmt: skip
    found = planned(olga, service, second)
    peak = found.situation.peak
    assert (peak.requests, peak.in_flight, peak.each) == (900, 30.0, 12)
    assert {p.peak_replicas for p in found.plans} == {2.5}
    assert "2.5 replicas needed" in next(
        c.text for c in found.checks if c.name == "Peak of the last 7 days"
    )


def planned(olga, service, release):
    with scope_of(olga.viewer):
        return plan_rollout(olga.viewer, service.pk, release.pk, steps=())


def test_a_plan_counts_starts_like_those_it_will_see_and_says_what_it_lacks(olga, service, cluster):
    release = service.current_release
    second = make_release(service, 2, digest="b" * 64, resources=RESOURCES)
    say(cluster, "p1", "Successfully pulled image")
    start(service, release, "p1", "b-1", 900)
    say(cluster, "p2", "Container image already present on machine")
    start(service, release, "p2", "b-1", 60)
    Service.objects.filter(pk=service.pk).update(prefetch_seconds=0)
    found = planned(olga, service, second)
    starts = found.situation.starts_new
    assert starts.expected == "nodes of owned with the image on them", "r1 has the same image"
    assert (starts.p95 // 1, starts.slowest // 1, starts.borrowed) == (60, 900, True)
    third = make_release(
        service, 3, digest="c" * 64, resources=RESOURCES, image_digest="sha256:" + "e" * 64
    )
    cold = planned(olga, service, third).situation.starts_new
    assert (cold.expected, cold.p95 // 1) == ("nodes of owned without the image", 900)
    Service.objects.filter(pk=service.pk).update(prefetch_seconds=600)
    cluster.permissions = FETCHES
    cluster.save(update_fields=["permissions"])
    assert planned(olga, service, third).situation.starts_new.p95 // 1 == 60
    StartSample.objects.filter(pod_uid="p2").delete()
    lacking = next(
        p for p in planned(olga, service, third).plans if p.kind is PlanKind.SURGE_CANARY
    )
    assert (
        "cold start of the new release on nodes of owned with the image on them: 0 starts seen;"
        " in its place: 1 start of org/model on whichever nodes"
    ) in lacking.unmeasured
