"""Images and weights on the nodes before any capacity moves: one short pod for each node. Pure.

It runs the release's image, asks for no GPU, mounts the weights where they are an image, and ends
at once. It carries no label of the service, so that no selector, budget or sum counts it, and is
owned by the new release's Deployment: with that it goes, whoever deletes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from fleet.rules.causes import CONFIG
from fleet.rules.disks import about_disk, with_nodes
from fleet.rules.fit import NodeRoom
from fleet.rules.manifests import RELEASE, deployments_of
from fleet.rules.pods import LONGEST, PREFIX, Manifest
from fleet.rules.quantity import whole
from fleet.rules.release import GPU, ModelPin
from fleet.rules.seen import ENDED, Part

LABEL = f"{PREFIX}/prefetch"  # fingerprint of the release
NODE = f"{PREFIX}/node"
NO_OP = ["true"]
AT_ONCE = 4  # pods, so that a registry is not run down
MOST = 32  # nodes
SPARE = 2  # nodes for each pod: schedulers choose, and like those that have the image
PULLED = frozenset({"Completed", "Error", "StartError", "ContainerCannotRun"})  # however it ended


class Fetching(StrEnum):
    """How far the image is on one node."""

    WAITING = "waiting"  # its pod is not made yet: AT_ONCE others pull
    PULLING = "pulling"
    DONE = "done"
    DISK = "disk"  # the node's is full
    REGISTRY = "registry"  # or what is between: it cannot be pulled
    PLACE = "place"  # the pod finds none, which is no fault of the release


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one of these pods came to. `done`: the image is on its node."""

    node: str
    name: str
    uid: str
    made: datetime | None = None
    done: bool = False
    pulls: bool = False  # it has a place, and trouble is of the pull
    trouble: str = ""

    @property
    def state(self) -> Fetching:
        if self.done:
            return Fetching.DONE
        if not self.trouble:
            return Fetching.PULLING
        if about_disk(self.trouble):
            return Fetching.DISK
        return Fetching.REGISTRY if self.pulls else Fetching.PLACE


@dataclass(frozen=True, slots=True)
class Prefetch:
    """`nodes`: where it is wanted."""

    nodes: tuple[str, ...] = ()
    found: tuple[Fetched, ...] = ()
    skipped: str = ""  # why nothing is fetched


def weights_of(model: ModelPin) -> tuple[bool, str]:
    """Whether these pods bring the weights too, and in words why or why not."""
    if model.is_artifact:
        return True, f"{model.name} is an image volume: the kubelet pulls it by its digest"
    if model.is_path:
        return True, f"{model.name} is a path inside the image, and comes with it"
    return False, (
        f"{model.name} is a repository of a hub, and pods of a release mount no cache of their"
        " node for it: an engine reads it offline, from what its image holds. Pin it as an artifact"
        " of a registry to have it brought"
    )


def selector_of(fingerprint: str) -> str:
    return f"{LABEL}={fingerprint}"


def specs_of(manifest: Manifest) -> list[Manifest]:
    """Of the pods of a release, one for each of its Deployments or what stands for it."""
    found = []
    for item in deployments_of(manifest):
        spec = item["spec"]
        group = spec.get("leaderWorkerTemplate")
        found.append((group["leaderTemplate"] if group else spec["template"])["spec"])
    return found


def chosen(rooms: Iterable[NodeRoom], manifest: Manifest, replicas: int) -> dict[str, Manifest]:
    """Pods to copy, by node: where one of them finds its GPUs, the emptiest first.

    Of a large cluster only as many nodes as the pods of so many replicas can need, so that a small
    service fills no disks and waits for no round after the other.
    """
    specs = specs_of(manifest)
    sizes = (d["spec"].get("leaderWorkerTemplate", {}) for d in deployments_of(manifest))
    pods = replicas * sum(int(size.get("size", 1)) for size in sizes)
    most = min(max(SPARE * pods, AT_ONCE), MOST)
    usable = sorted((r for r in rooms if r.usable), key=lambda r: (-r.free - r.leaving, r.name))
    found: dict[str, Manifest] = {}
    for room in usable:
        fitting = (s for s in specs if _fits(room, s))
        if len(found) < most and (spec := next(fitting, None)):
            found[room.name] = spec
    return found


def _fits(room: NodeRoom, spec: Manifest) -> bool:
    product = spec.get("nodeSelector", {}).get(f"{GPU}.product", room.product)
    gpus = whole(spec["containers"][0]["resources"]["limits"].get(GPU, 0))
    return product == room.product and room.free + room.leaving >= gpus


def pod_on(node: str, spec: Manifest, release: Manifest, owner: Part, seconds: float) -> Manifest:
    """`spec` of the release's pods, `release`: all of its objects, `owner` is there already."""
    meta, engine = release["metadata"], spec["containers"][0]
    images = [v for v in spec.get("volumes", ()) if "image" in v]
    names = {v["name"] for v in images}
    mounts = [m for m in engine.get("volumeMounts", ()) if m["name"] in names]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    small = {"cpu": "10m", "memory": "32Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_on(node, meta["name"]),
            "namespace": meta["namespace"],
            "labels": {
                LABEL: meta["labels"][RELEASE],
                "app.kubernetes.io/managed-by": "quartermaster",
            },
            "annotations": {NODE: node},
            "ownerReferences": [
                {"apiVersion": _version(release, owner), "kind": owner.kind, "name": owner.name,
                 "uid": owner.uid}
            ],
        },
        "spec": {
            "activeDeadlineSeconds": max(round(seconds), 1),
            "affinity": {"nodeAffinity": required},
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "prefetch",
                    "image": engine["image"],
                    "command": NO_OP,
                    "resources": {"limits": small, "requests": small},
                    "securityContext": engine["securityContext"],
                    "volumeMounts": mounts,
                }
            ],
            "enableServiceLinks": False,
            "nodeSelector": spec.get("nodeSelector", {}),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "tolerations": spec["tolerations"],
            "volumes": images,
        },
    }  # fmt: skip


def name_on(node: str, workload: str) -> str:
    """The same for a node and release, so that it is made once."""
    end = f"-prefetch-{sha256(node.encode()).hexdigest()[:8]}"
    return workload[: LONGEST - len(end)].rstrip("-") + end


def _version(release: Manifest, owner: Part) -> str:
    found: str = next(d["apiVersion"] for d in deployments_of(release) if d["kind"] == owner.kind)
    return found


def read(pods: Iterable[Mapping[str, Any]], full: Sequence[str] = ()) -> tuple[Fetched, ...]:
    """`full`: nodes whose disk is."""
    return tuple(_read(pod, full) for pod in pods if "deletionTimestamp" not in pod["metadata"])


def _read(pod: Mapping[str, Any], full: Sequence[str]) -> Fetched:
    meta, status = pod["metadata"], pod.get("status", {})
    node = meta.get("annotations", {}).get(NODE, "")
    made = meta.get("creationTimestamp")
    at = datetime.fromisoformat(made) if made else None
    this = Fetched(node, meta["name"], meta["uid"], at)
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state") or {}
    ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    text = f"{waiting.get('reason')}: {waiting.get('message', '')}"
    refused = waiting.get("reason") in CONFIG and not about_disk(text)  # only after the pull
    came = "running" in state or ended.get("reason") in PULLED or refused
    if came or status.get("phase") == "Succeeded":
        return replace(this, done=True)
    if waiting.get("reason", "ContainerCreating") != "ContainerCreating":
        return replace(this, pulls=True, trouble=text)
    if status.get("phase") in ENDED:
        text = f"{status.get('reason', 'Failed')}: {status.get('message', '')}"
        return replace(this, pulls=True, trouble=text)
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            text = with_nodes(str(condition.get("message", "")), [n for n in full if n == node])
            return replace(this, trouble=text)
    return this
