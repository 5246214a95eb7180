"""The same move by a plain Deployment with RollingUpdate, on the same cluster, for comparison.

Its pods are those of the console's release with probes, preStop and grace as they are; only the
readiness gate is left out, which nobody would open. What a Service and kube-proxy need to follow
is not counted: from the moment a pod is ready or terminating, requests are taken to know it.
Imported after set-up.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.rollouts.waiting import wait
from bench.rollouts.walk import PODS, Place
from fleet.models import Deployment
from sandbox.cluster.kube import STRATEGIC, Kube
from sandbox.engines.images import CATALOGUE

NAME, REPLICAS, LONGEST = "peer", 2, 300.0
PATH = f"/apis/apps/v1/namespaces/models/deployments/{NAME}"
EVERY = 0.05  # seconds: asking takes CPU away from what is asked about
OLD, NEW = (CATALOGUE[name].reference for name in ("standin-0.32", "standin-0.32.1"))


@dataclass
class Peer:
    """`pods`: the newest look."""

    kube: Kube
    pods: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, what: str, check: Callable[["Peer"], bool]) -> float:
        """The moment in which it was seen."""

        def seen() -> bool:
            self.pods = self.kube.get(PODS, labelSelector=f"app={NAME}")["items"]
            return check(self)

        wait(what, seen, LONGEST, EVERY)
        return time.monotonic()

    def move(self, reference: str) -> float:
        """As `kubectl set image` and `kubectl rollout undo` do."""
        containers = [{"name": "vllm", "image": reference}]
        began = time.monotonic()
        self.kube.patch(
            PATH, {"spec": {"template": {"spec": {"containers": containers}}}}, STRATEGIC
        )
        return began

    def of(self, reference: str) -> list[dict[str, Any]]:
        return [p for p in self.pods if p["spec"]["containers"][0]["image"] == reference]

    def reachable(self, reference: str) -> int:
        """Pods that an EndpointSlice would hold."""
        return sum(
            "deletionTimestamp" not in p["metadata"] and is_ready(p) for p in self.of(reference)
        )

    def alone(self, reference: str) -> bool:
        return self.reachable(reference) == len(self.pods) == REPLICAS


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def placed(place: Place) -> Peer:
    """Two replicas of the old image."""
    peer = Peer(place.sandbox.kube())
    peer.kube.apply(PATH, manifest_of(place), manager="bench")
    peer.wait("the plain Deployment", lambda p: p.alone(OLD))
    return peer


def manifest_of(place: Place) -> dict[str, Any]:
    row = Deployment.objects.filter(service=place.service, weight=100).latest("id")
    made = copy.deepcopy(row.manifest)
    labels = {"app": NAME}
    pod = made["spec"]["template"]
    pod["metadata"] = {"labels": labels}
    pod["spec"].pop("readinessGates")
    pod["spec"]["containers"][0]["image"] = OLD
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "strategy": rolling}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": labels},
        "spec": made["spec"] | spec,
    }


def added(peer: Peer) -> float:
    """Seconds of a whole move that are neither start-up nor drain, reckoned as for a rollout."""
    began = peer.move(NEW)
    start = peer.wait("its first new pod", lambda p: bool(p.of(NEW)))
    ready = peer.wait("all new pods", lambda p: p.reachable(NEW) == REPLICAS)
    leaving = peer.wait("the last old pod to leave", lambda p: not p.reachable(OLD))
    ended = peer.wait("the end of old pods", lambda p: p.alone(NEW))
    back(peer)
    return (ended - began) - (ready - start) - (ended - leaving)


def undone(peer: Peer) -> float:
    """Seconds from an undo half way until no request can reach the new image."""
    peer.move(NEW)
    peer.wait("half of the way", lambda p: p.reachable(NEW) == p.reachable(OLD) == 1)
    began = peer.move(OLD)
    ended = peer.wait("the way back", lambda p: not p.reachable(NEW))
    peer.wait("the old pods", lambda p: p.alone(OLD))
    return ended - began


def back(peer: Peer) -> None:
    peer.move(OLD)
    peer.wait("the old pods", lambda p: p.alone(OLD))
