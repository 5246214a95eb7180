"""A service on the real API server, scheduler and engines; its traffic follows the weights."""

import contextlib
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
from django.utils import timezone

from fleet.actions import clusters
from fleet.actions.releases import create_release
from fleet.actions.rollouts import propose_rollout
from fleet.actions.traffic import record
from fleet.clients.engine import PLAIN
from fleet.drive.observation import Observer
from fleet.drive.outside import REAL, Outside
from fleet.drive.rollout import drive
from fleet.models import Deployment, Node, Service
from fleet.rules.manifests import PORT, RELEASE, SERVICE
from fleet.rules.phases import FINAL, Phase
from fleet.rules.situation import StepPlan
from fleet.rules.state import NOW
from fleet.rules.traffic import TrafficSample
from sandbox.cluster.kube import ApiStatusError
from sandbox.engines.images import CATALOGUE
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import ChangeRequest
from tests.fixtures.kubernetes import DEPLOYMENTS, PODS
from tests.fleet.drive.stage import make_viewer

PRODUCT = "NVIDIA-L40S"
ONE_STEP = (StepPlan(50, 5, 20),)
GONE = 90  # seconds: pods drain, and a kubelet of many may be slow
PACE = 0.8  # seconds from pass to pass: without it this would starve the engines that it waits for
BODY = {"prompt": "hello there", "max_tokens": 6, "stream": True, "ignore_eos": True}


def new_client(seconds=10.0):
    """For one request, as gateways' pools know nothing of each other. Engines speak plain HTTP."""
    return httpx.Client(timeout=seconds, trust_env=False, verify=PLAIN)


@dataclass
class RealStage:
    cluster: object  # the running sandbox
    olga: object
    vic: object
    row: object
    service: Service
    observer: Observer = field(default_factory=Observer)
    asked: int = 0
    failed: list = field(default_factory=list)  # what each one met
    longest: float = 0.0  # seconds that a pass took
    patience: float = 10.0  # seconds that a client waits
    number: int = 0
    load: int = 10  # requests from pass to pass
    outside: Outside = REAL

    def act(self, action, *args, **more):
        with scope_of(self.olga):
            return action(self.olga, *args, **more)

    def release(self, image="standin-0.32", reference="", **changed):
        """A new content each time, by its commit."""
        self.number += 1
        fields = {
            "model": {"name": "org/model", "commit": f"{self.number:040x}"},
            "image": reference or CATALOGUE[image].reference,
            "resources": {"gpu_product": PRODUCT, "gpus": 1, "cpu": "100m", "memory": "256Mi"},
            "probes": {
                "startup_seconds": 20,
                "drain_seconds": 4,
                "pre_stop_seconds": 2,
                "teardown_seconds": 2,
            },
        }
        return self.act(create_release, self.service.pk, **fields | changed)

    def propose(self, release, **changed):
        self.observe()
        fields = {"steps": ONE_STEP, "soak_seconds": 3, "patience_seconds": 6}
        return self.act(propose_rollout, self.service.pk, release.pk, **fields | changed)

    def approve(self, rollout):
        change = ChangeRequest.objects.get(pk=rollout.change_id)
        with scope_of(self.vic):
            changes.decide(self.vic, change.pk, digest=change.digest, approve=True)

    def roll_out(self, release, **changed):
        rollout = self.propose(release, **changed)
        self.approve(rollout)
        return self.run(rollout)

    def observe(self):
        self.observer.observe(self.row.pk, timezone.now())

    def run(self, rollout, until=FINAL, seconds=120):
        """Pass after pass, as worker and beat do, under steady traffic."""
        rollout.refresh_from_db()
        ends = time.monotonic() + seconds
        while Phase(rollout.phase) not in until:
            began = time.monotonic()
            assert began < ends, f"still {rollout.phase}: {rollout.why}"
            again = drive(rollout.pk, self.outside)
            self.longest = max(self.longest, time.monotonic() - began)
            rollout.refresh_from_db()
            if again == NOW:
                continue
            self.observe()
            self.pump()
            time.sleep(max(0.0, began + PACE - time.monotonic()))
        return rollout

    def pump(self, requests=0):
        """Requests to admitted pods by weight; what the gateway would report goes to the slots."""
        weights = {d.release.fingerprint: d for d in self.placed() if d.weight}
        pods = self.addresses(weights)
        able = [(d, pods[f]) for f, d in weights.items() if pods.get(f)]
        if not able:
            return
        chosen = random.choices(able, [d.weight for d, _ in able], k=requests or self.load)
        with ThreadPoolExecutor(8) as pool:
            samples = list(pool.map(lambda c: self.ask(c[0], random.choice(c[1])), chosen))
        self.asked += len(samples)
        with fleet_scope():
            record(samples)

    def placed(self):
        return Deployment.objects.filter(service=self.service).select_related("release")

    def addresses(self, weights):
        found = {}
        for pod in self.pods():
            conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
            if conditions.get("Ready") == "True":
                release = pod["metadata"]["labels"][RELEASE]
                found.setdefault(release, []).append(pod["status"]["podIP"])
        return found

    def pods(self, fingerprint=""):
        """Those that are not on their way out, of one release or of all."""
        chosen = f"{SERVICE}={self.service.name}" + f",{RELEASE}={fingerprint}" * bool(fingerprint)
        found = self.cluster.console.get(PODS, labelSelector=chosen)["items"]
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def ask(self, row, address):
        started, times, whole, finish = time.monotonic(), [], False, ""
        try:
            url, body = (
                f"http://{address}:{PORT}/v1/completions",
                BODY | {"model": self.service.name},
            )
            with new_client(self.patience) as http, http.stream("POST", url, json=body) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines():
                    if line.startswith("data: {"):
                        times.append((time.monotonic() - started) * 1000)
                        for choice in json.loads(line[6:])["choices"]:
                            finish = choice["finish_reason"] or finish
                    whole = whole or line == "data: [DONE]"
        except httpx.HTTPError as error:
            whole = False
            self.failed.append(f"{address}: {error!r} after {times}")
        else:
            if not whole:
                self.failed.append(f"{address}: no end after {times}")
        gaps = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None
        return TrafficSample(
            at=timezone.now(),
            tenant_id=1,
            service_id=self.service.pk,
            release_id=row.release_id,
            traffic_class="interactive",
            outcome="served" if whole else "failed",
            ttft_ms=times[0] if times else None,
            itl_ms=gaps,
            completion_tokens=len(times),
            gpu_ms=round((time.monotonic() - started) * 1000),
            finish=finish,
        )

    def fingerprints(self):
        """What every admitted pod answers."""
        found = []
        for addresses in self.addresses({}).values():
            for address in addresses:
                body = BODY | {"model": self.service.name, "stream": False}
                url = f"http://{address}:{PORT}/v1/completions"
                with new_client() as http:
                    found.append(http.post(url, json=body).json()["system_fingerprint"])
        return found

    def is_alone_with(self, fingerprint, seconds=30, meanwhile=lambda: None):
        """Whether its replicas, all of them ready, are soon all that this service has."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            all_of_it = self.cluster.console.get(
                PODS, labelSelector=f"{SERVICE}={self.service.name}"
            )
            ready = self.addresses({}).get(fingerprint, ())
            if len(ready) == len(all_of_it["items"]) == self.service.replicas:
                return True
            meanwhile()
            time.sleep(0.2)
        return False

    def clear(self):
        """Nothing of this service is left in the cluster."""
        selector = f"{SERVICE}={self.service.name}"
        for found in self.cluster.console.get(DEPLOYMENTS, labelSelector=selector)["items"]:
            with contextlib.suppress(ApiStatusError):  # gone already
                self.cluster.console.delete(f"{DEPLOYMENTS}/{found['metadata']['name']}")
        ends = time.monotonic() + GONE
        while left := self.cluster.console.get(PODS, labelSelector=selector)["items"]:
            assert time.monotonic() < ends, [pod["metadata"]["name"] for pod in left]
            time.sleep(0.2)


def make_stage_serving(cluster, name, replicas=2):
    """One release serves."""
    stage = make_real_stage(cluster, name, replicas=replicas)
    first = stage.roll_out(stage.release(), steps=(), soak_seconds=0)
    assert first.phase == Phase.SUCCEEDED, first.why
    stage.service.refresh_from_db()
    return stage


def make_real_stage(cluster, name, replicas=2, kubeconfig=""):
    olga, vic = make_viewer("olga", "operator"), make_viewer("vic", "approver")
    with fleet_scope():
        access = kubeconfig or cluster.kubeconfig.read_text()
        examined = clusters.examine(olga, kubeconfig=access)
        row = clusters.register(olga, examined, slug="local", region="local-1")
    service = Service.objects.create(name=name, cluster=row, replicas=replicas, prefetch_seconds=0)
    stage = RealStage(cluster, olga, vic, row, service)
    stage.observe()
    assert Node.objects.filter(gpu_product=PRODUCT).exists()
    return stage
