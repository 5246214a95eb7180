"""Scaling by load on the real API server: up with the queue, down again, no request lost on the
way; and an autoscaler's number is left alone.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from fleet.actions.scaling import set_policy
from fleet.clients.signals import Engines
from fleet.drive.keep import keep
from fleet.drive.scaling import scale
from fleet.drive.signals import scrape
from fleet.models import Deployment, Drift, ScalingDecision
from fleet.rules.manifests import PORT
from fleet.rules.phases import Phase
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds
from tests.cluster.rollout_stage import make_real_stage, new_client
from tests.fixtures.kubernetes import DEPLOYMENTS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
POLICY = Policy(Bounds(1, 3), target=3, stable=timedelta(seconds=10), pause=timedelta(seconds=5))
BODY = {"prompt": "hello there", "max_tokens": 60, "ignore_eos": True}
# Time for a loaded machine to take a pod that ends out of the clients' list.
PROBES = {"startup_seconds": 60, "drain_seconds": 8, "pre_stop_seconds": 6, "teardown_seconds": 2}


class Clients:
    """So many requests at any time, each to one of the pods that take traffic, as a gateway's."""

    def __init__(self, stage):
        self.stage = stage
        self.wanted, self.asked, self.failed = 0, 0, []
        self.addresses, self.number, self.over = [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.list_pods)]
        self.threads += [threading.Thread(target=self.ask, args=(i,)) for i in range(8)]

    def __enter__(self):
        self.list_once()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def list_once(self):
        self.addresses = [a for found in self.stage.addresses({}).values() for a in found]

    def list_pods(self):
        while not self.over.wait(0.2):
            self.list_once()

    def ask(self, index):
        while not self.over.is_set():
            if index >= self.wanted:
                self.over.wait(0.1)
                continue
            self.number += 1
            address = self.addresses[self.number % len(self.addresses)]
            self.ask_one(address)

    def ask_one(self, address):
        body = BODY | {"model": self.stage.service.name}
        try:
            with new_client() as http:
                answer = http.post(f"http://{address}:{PORT}/v1/completions", json=body, timeout=60)
            answer.raise_for_status()
            assert answer.json()["usage"]["completion_tokens"] == 60
        except (httpx.HTTPError, AssertionError, KeyError) as error:
            self.failed.append(f"{address}: {error!r}")
        self.asked += 1


@pytest.fixture
def stage(cluster):
    found = make_real_stage(cluster, "scaled", replicas=1)
    release = found.release(arguments=["--max-num-seqs=2"], probes=PROBES)
    first = found.roll_out(release, steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    found.service.refresh_from_db()
    yield found
    found.clear()


@pytest.fixture
def outside():
    with ThreadPoolExecutor(4) as pool:
        engines = Engines()
        yield engines, pool
        engines.close()


def live(stage, row):
    return stage.cluster.console.get(f"{DEPLOYMENTS}/{row.name}")["spec"]["replicas"]


def test_it_follows_the_load_up_and_down_and_loses_no_request(stage, outside):
    row = Deployment.objects.get(replicas__gt=0)
    policy = stage.act(set_policy, stage.service.pk, None, POLICY)

    def look():
        """As observer, beat and workers do beside each other."""
        stage.observe()
        scrape(*outside, timezone.now())
        decision = scale(policy.pk)
        keep(row.pk)
        return decision

    def reached(replicas):
        look()
        serving = len(stage.fingerprints()) == replicas
        return live(stage, row) == replicas and serving

    with Clients(stage) as clients:
        clients.wanted = 1
        assert look().given == 1
        clients.wanted = 8
        until("three replicas", lambda: reached(3), 120)
        clients.wanted = 1
        until("one replica again", lambda: reached(1), 180)
    assert clients.failed == []
    assert clients.asked > 20

    changes = ScalingDecision.objects.filter(changed=True).order_by("at")
    numbers = [(d.declared, d.given) for d in changes]
    assert numbers[-2:] == [(3, 2), (2, 1)], numbers
    assert numbers[:-2] == sorted(numbers[:-2])
    up = changes[0]
    assert up.waiting > 0, up.why  # the queue was seen
    print("\n".join(d.why for d in changes))
    stage.observe()
    assert not Drift.objects.filter(ended_at=None).exists()

    # An HPA or KEDA writes /scale, and owns the number from then on.
    path = f"{DEPLOYMENTS}/{row.name}/scale"
    patch = {"spec": {"replicas": 2}}
    stage.cluster.admin.patch(path, patch, fieldManager="kube-controller-manager")
    with Clients(stage) as clients:
        clients.wanted = 8

        def left_alone():
            decision = look()
            return "An autoscaler (kube-controller-manager) owns" in decision.why

        until("the owner is seen", left_alone, 60)
        for _ in range(3):
            assert left_alone()
    row.refresh_from_db()
    assert (live(stage, row), row.replicas) == (2, 1)
    assert clients.failed == []
