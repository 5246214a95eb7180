"""One rollout of the benchmark: proposed, approved, shifted, aborted. Imported after set-up."""

import time
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import redis
from django.conf import settings

from bench.rollouts.waiting import wait
from fleet.actions import clusters
from fleet.actions.releases import create_release
from fleet.actions.rollouts import abort_rollout, propose_rollout
from fleet.models import Cluster, ObservedPod, Rollout, RolloutEvent, Service
from fleet.rules.phases import Phase, PlanKind
from fleet.rules.situation import StepPlan
from gateway.contract import keys
from gateway.contract.routing import Pool, RoutingSnapshot
from sandbox.cluster.kube import ApiStatusError
from sandbox.engines.images import CATALOGUE
from tenants.actions import changes
from tenants.base.rows import database_now
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import ChangeRequest, RoleBinding, User
from tenants.queries.access import viewer_of_user
from tenants.rules.access import Viewer

PRODUCT = "NVIDIA-L40S"
PODS = "/api/v1/namespaces/models/pods"
STORE = redis.Redis.from_url(settings.REDIS_URL)
HELD = (StepPlan(50, 3600, 1_000_000),)  # waits for samples that never come


@dataclass
class Place:
    sandbox: object
    olga: Viewer
    vic: Viewer
    service: Service
    number: int = 0


def prepare(sandbox) -> Place:
    """People, the cluster, a service with two replicas of a first release."""
    olga, vic = make_person("olga", "operator"), make_person("vic", "approver")
    text = sandbox.cluster.kubeconfig("console").read_text()
    with fleet_scope():
        examined = clusters.examine(olga, kubeconfig=text)
        row = clusters.register(olga, examined, slug="local", region="local-1")
    service = Service.objects.create(name="chat", cluster=row, replicas=2)
    wait("nodes", lambda: Cluster.objects.get(pk=row.pk).nodes.filter(gpu_product=PRODUCT).exists())
    place = Place(sandbox, olga, vic, service)
    first = propose(place, "standin-0.32", ())
    approve(place, first)
    reach(first, {Phase.SUCCEEDED}, 120)
    return place


def make_person(name: str, role: str) -> Viewer:
    user = User.objects.create_user(f"{name}@example.com", name=name)
    with fleet_scope():
        RoleBinding.objects.create(user=user, role=role)
    return viewer_of_user(user)


def once(place: Place, kind: PlanKind = PlanKind.SURGE_CANARY) -> tuple[float, float]:
    """Seconds from the approval to the first object, and from the abort to traffic at 100 %."""
    alone(place)
    rollout = propose(place, "standin-0.32.1", HELD, kind)
    reach(rollout, {Phase.AWAITING_APPROVAL})
    name = next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]
    began = time.monotonic()
    approve(place, rollout)
    wait("first object", lambda: exists(place, name))
    approval = time.monotonic() - began
    wait("half of the traffic", lambda: published(place, rollout.from_release_id) == 50, 120)
    back = back_after_abort(place, rollout)
    reach(rollout, {Phase.ROLLED_BACK}, 120)
    return approval, back


def pod_to_snapshot(place: Place) -> float:
    """Seconds from the deletion of a pod until gateways read that it takes no requests."""
    before = wait("both replicas", lambda: len(found := endpoints(place)) == 2 and found, 600)
    pod = sorted(before)[0]
    began = time.monotonic()
    place.sandbox.kube().delete(f"{PODS}/{pod}")
    wait("a snapshot without it", lambda: pod not in endpoints(place))
    return time.monotonic() - began


def added(place: Place) -> float:
    """Seconds of a whole surge canary without gates that are neither start-up nor drain."""
    alone(place)
    rollout = propose(place, "standin-0.32.1", ())
    reach(rollout, {Phase.AWAITING_APPROVAL})
    approve(place, rollout)
    reach(rollout, {Phase.SUCCEEDED}, 120)
    began = ChangeRequest.objects.get(pk=rollout.change_id).decided_at
    pods = ObservedPod.objects.filter(release=rollout.to_release.fingerprint, ready=True)
    start = max(p.ready_at for p in pods) - min(p.created_at for p in pods)
    removal = RolloutEvent.objects.filter(rollout=rollout, detail__has_key="replicas_old").last()
    drain = rollout.ended_at - removal.at
    return (rollout.ended_at - began - start - drain).total_seconds()


def alone(place: Place, seconds: float = 120) -> None:
    """The observer saw the last pods of the rollout before go: a plan counts what it saw."""
    pods = ObservedPod.objects.filter(deployment__service=place.service)
    wait("its own replicas", lambda: pods.count() == place.service.replicas, seconds, every=0.2)
    began, cluster = database_now(), Cluster.objects.filter(pk=place.service.cluster_id)
    wait("a look at its nodes", lambda: cluster.get().observed_at > began, seconds, every=0.2)


def back_after_abort(place: Place, rollout: Rollout) -> float:
    """Seconds from the abort until gateways read that the old release gets all traffic."""
    began = time.monotonic()
    with scope_of(place.olga):
        abort_rollout(place.olga, rollout.pk, why="benchmark")
    wait("all traffic back", lambda: published(place, rollout.from_release_id) == 100)
    return time.monotonic() - began


def propose(
    place: Place, image: str, steps: tuple[StepPlan, ...], kind: PlanKind | None = None
) -> Rollout:
    """`kind` None: the best one."""
    place.number += 1
    with scope_of(place.olga):
        release = create_release(
            place.olga,
            place.service.pk,
            model={"name": "org/model", "commit": f"{place.number:040x}"},
            image=CATALOGUE[image].reference,
            resources={"gpu_product": PRODUCT, "gpus": 1, "cpu": "100m", "memory": "256Mi"},
            probes={"startup_seconds": 60, "pre_stop_seconds": 2, "drain_seconds": 4},
        )
        return propose_rollout(
            place.olga, place.service.pk, release.pk, kind=kind, steps=steps, soak_seconds=0
        )


def approve(place: Place, rollout: Rollout) -> None:
    change = ChangeRequest.objects.get(pk=rollout.change_id)
    with scope_of(place.vic):
        changes.decide(place.vic, change.pk, digest=change.digest, approve=True)


def reach(rollout: Rollout, phases: set[Phase], seconds: float = 60) -> None:
    row = Rollout.objects.filter(pk=rollout.pk)

    def there() -> bool:
        return Phase(row.values_list("phase", flat=True)[0]) in phases

    wait(f"{rollout} {phases}", there, seconds, every=0.2)
    rollout.refresh_from_db()


def exists(place: Place, name: str) -> bool:
    try:
        place.sandbox.kube().get(f"/apis/apps/v1/namespaces/models/deployments/{name}")
    except ApiStatusError:
        return False
    return True


def published(place: Place, release_id: int | None) -> int | None:
    """Percent of the service's traffic on a release, as gateways read it."""
    found = routed(place)
    return next((p.weight for p in found if p.release_id == release_id), 0) if found else None


def endpoints(place: Place) -> set[str]:
    """Pods of the service that gateways send to."""
    return {endpoint.pod for pool in routed(place) for endpoint in pool.endpoints}


def routed(place: Place) -> list[Pool]:
    """The service in the newest snapshot."""
    version = STORE.get(keys.ROUTING_CURRENT)
    found = decoded(int(version)).services.get(place.service.name) if version else None
    return list(found.pools) if found else []


@lru_cache(maxsize=1)
def decoded(version: int) -> RoutingSnapshot:
    """Once for each version: asking must not cost the CPU that is measured."""
    return msgspec.json.decode(STORE.get(keys.routing_doc(version)), type=RoutingSnapshot)
