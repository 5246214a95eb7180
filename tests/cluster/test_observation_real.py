"""The observer on a real API server, with engines that answer, hang and lose their node."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Thread

import httpx
import pytest
from django.utils import timezone

from fleet.actions.clusters import examine
from fleet.clients import signals
from fleet.clients.signals import Engines
from fleet.drive.signals import probe, scrape
from fleet.models import Cluster, EngineSample, GpuInterval, Node, ObservedEvent, ObservedPod
from fleet.queries.clusters import get_cluster
from fleet.queries.engines import token_counters
from fleet.queries.routing import build_routing
from fleet.queries.service_states import Health
from fleet.queries.services import get_service
from fleet.rules.engine_metrics import read_metrics
from fleet.rules.phases import Phase
from tests.cluster.rollout_stage import PRODUCT, make_real_stage, new_client
from tests.fixtures.kubernetes import turn, until

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def stage(cluster):
    """One release serves with two replicas."""
    found = make_real_stage(cluster, "seen")
    rollout = found.roll_out(found.release(), steps=())
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    found.observe()
    yield found
    found.clear()


@pytest.fixture
def outside():
    with ThreadPoolExecutor(4) as pool:
        engines = Engines()
        yield engines, pool
        engines.close()


def test_it_has_every_permission_that_it_needs_and_no_more_than_it_asks_for(cluster, stage):
    examined = examine(stage.olga, kubeconfig=cluster.kubeconfig.read_text())
    denied = [p for p in examined.permissions if p["needed"] and not p["allowed"]]
    assert (denied, examined.version[:2]) == ([], "v1")


def test_it_sees_nodes_pods_events_and_where_to_send_requests(stage, outside):
    engines, pool = outside
    row = get_cluster(stage.olga, stage.row.pk, timezone.now()).cluster
    (l40s,) = (g for g in row.gpus if g.product == PRODUCT)
    assert (row.stale, row.denied, l40s.allocatable, l40s.used) == ("", 0, 4, 2)
    assert ObservedEvent.objects.filter(kind="Pod").exists()
    service = get_service(stage.olga, "seen", timezone.now()).service
    assert (service.health, service.why, service.serving) == (Health.HEALTHY, (), 2)
    (pool_of,) = build_routing(timezone.now()).services["seen"].pools
    assert len(pool_of.endpoints) == 2

    started = timezone.now()
    assert scrape(engines, pool, started) == 2
    stage.pump(20)
    assert probe(engines, pool, timezone.now()) == 2
    assert scrape(engines, pool, timezone.now()) == 2
    stage.observe()
    assert all(p.probe_passes == 1 for p in ObservedPod.objects.all())
    assert all(s.running is not None for s in EngineSample.objects.all())
    (counted,) = token_counters(started + timedelta(microseconds=1), timezone.now())
    assert counted.completion_tokens == 20 * 6  # what was asked, without the probes' two
    assert counted.probe_completion_tokens == 2
    states = set(GpuInterval.objects.filter(product=PRODUCT).values_list("state", flat=True))
    assert {"serving", "free"} <= states


def test_it_takes_an_engine_that_hangs_out_of_routing(cluster, stage, outside):
    engines, pool = outside
    pod = ObservedPod.objects.order_by("name")[0]
    cluster.fault(op="freeze", pod=f"models/{pod.name}")
    try:
        for minutes in (1, 2):
            probe(engines, pool, timezone.now() + timedelta(minutes=minutes))
    finally:
        cluster.fault(op="thaw", pod=f"models/{pod.name}")
    (pool_of,) = build_routing(timezone.now()).services["seen"].pools
    assert pod.name not in [e.pod for e in pool_of.endpoints]
    assert len(pool_of.endpoints) == 1


def ask_for_much(address, answers):
    """A long request in the background; its status is kept if it is ever answered."""
    body = {"model": "seen", "prompt": "hello", "max_tokens": 2000, "ignore_eos": True}

    def ask():
        with suppress(httpx.HTTPError), new_client(90) as http:
            answered = http.post(f"http://{address}/v1/completions", json=body)
            answers.append(answered.status_code)

    Thread(target=ask, daemon=True).start()


def is_busy(engines, pod):
    return (read_metrics(engines.metrics(pod.address)).running or 0) >= 3


def routed():
    (pool_of,) = build_routing(timezone.now()).services["seen"].pools
    return [endpoint.pod for endpoint in pool_of.endpoints]


def test_engines_that_stand_still_with_requests_leave_routing_and_the_cause_is_named(
    cluster, stage, outside, monkeypatch
):
    """One makes no step and still tells its metrics; then the other one is stopped (SIGSTOP)."""
    monkeypatch.setattr(signals, "PROBE_SECONDS", 2.0)
    engines, pool = outside
    still, stopped = ObservedPod.objects.order_by("name")
    answers: list[int] = []
    turn(still.address.partition(":")[0], hang=True)
    for _ in range(3):
        ask_for_much(still.address, answers)
    until("requests", lambda: is_busy(engines, still), 30)
    began = timezone.now()
    for seconds in range(0, 50, 10):
        scrape(engines, pool, began + timedelta(seconds=seconds))
    still.refresh_from_db()
    assert still.probe.startswith("frozen: 3 requests run and no step was made for")
    assert routed() == [stopped.name]
    assert answers == []
    turn(still.address.partition(":")[0], hang=False)
    until("its answers", lambda: answers == [200] * 3, 30)
    probe(engines, pool, began + timedelta(minutes=2))
    assert sorted(routed()) == [still.name, stopped.name]

    turn(stopped.address.partition(":")[0], itl_ms=1000)
    for _ in range(3):
        ask_for_much(stopped.address, answers)
    until("requests", lambda: is_busy(engines, stopped), 30)
    cluster.fault(op="freeze", pod=f"models/{stopped.name}")
    try:
        for minutes in (3, 4):
            probe(engines, pool, began + timedelta(minutes=minutes))
    finally:
        cluster.fault(op="thaw", pod=f"models/{stopped.name}")
    stopped.refresh_from_db()
    assert stopped.probe.startswith("no answer in time")
    assert routed() == [still.name]


def test_it_keeps_the_last_picture_while_the_api_is_away(cluster, stage):
    sealed = bytes(stage.row.credential)
    before = Cluster.objects.get().observed_at
    Cluster.objects.update(credential=b"broken")
    stage.observe()
    away = Cluster.objects.get()
    assert (away.observed_at, away.trouble != "") == (before, True)
    assert Node.objects.exists() and ObservedPod.objects.count() == 2
    Cluster.objects.update(credential=sealed, look_again=None)
    stage.observe()
    assert Cluster.objects.get().trouble == ""
