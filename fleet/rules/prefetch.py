"""Images and weights on the nodes before any capacity moves: one short pod for each node. Pure.

It runs the release's image, asks for no GPU, mounts the weights where they are an image, and ends
at once; where they belong into a cache (`fleet.rules.weights`) it brings them there first. Into a
claim that all nodes share one pod more does, on whichever node. They carry no label of the
service, so that no selector, budget or sum counts them, and are owned by the new release's
Deployment: with that they go, whoever deletes it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from fleet.rules.causes import CONFIG
from fleet.rules.disks import about_disk, with_nodes
from fleet.rules.fit import NodeRoom
from fleet.rules.kueue import turn_in, waits_in
from fleet.rules.manifests import RELEASE, deployments_of
from fleet.rules.pods import LONGEST, PREFIX, Manifest
from fleet.rules.quantity import whole
from fleet.rules.release import GPU, ModelPin
from fleet.rules.seen import ENDED, Part
from fleet.rules.weights import (
    CLAIM,
    FINAL,
    PLACE,
    VOLUME,
    Trouble,
    in_words,
    is_claim,
    read_end,
    volume,
)

LABEL = f"{PREFIX}/prefetch"  # fingerprint of the release
NODE = f"{PREFIX}/node"
BRINGS = f"{PREFIX}/weights"  # the cache that its pod fills
NOT_ALLOWED = "Its image is not brought to nodes before: the account may not create pods"
NO_LIMIT = "Its image is not brought to nodes before: the service's limit for that is 0 s"
FIRST_STARTS = "what its first start on a node pulls takes as long as it takes"
NO_OP = ["true"]
AT_ONCE = 4  # pods, so that a registry is not run down
MOST = 32  # nodes
SPARE = 2  # nodes for each pod: schedulers choose, and like those that have the image
PULLED = frozenset({"Completed", "Error", "StartError", "ContainerCannotRun"})  # however it ended


class Fetching(StrEnum):
    """How far the image is on one node."""

    WAITING = "waiting"  # its pod is not made yet: AT_ONCE others pull; or is not let in yet
    PULLING = "pulling"
    LOADING = "loading"  # the image is there, its weights are on the way
    DONE = "done"
    DISK = "disk"  # the node's is full
    REGISTRY = "registry"  # or what is between: it cannot be pulled
    PLACE = "place"  # the pod finds none, which is no fault of the release
    HUB = "hub"  # of its weights, this and the rest: see weights.Trouble
    COMMIT = "commit"
    ACCESS = "access"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one of these pods came to. `done`: the image is on its node, and what it brings there.

    `node` of the one that fills a claim: `CLAIM` and its name.
    """

    node: str
    name: str
    uid: str
    made: datetime | None = None
    done: bool = False
    pulls: bool = False  # it has a place, and trouble is of the pull
    trouble: str = ""
    image: bool = False  # the image is there, whatever of the weights
    weights: Trouble | None = None  # the trouble is of them
    told: str = ""  # last words of one that brought weights
    queue: str = ""  # of Kueue, whose turn it waits for

    @property
    def comes(self) -> bool:
        """Nothing went wrong: it pulls, or waits for its turn."""
        return not self.done and (not self.trouble or bool(self.queue))

    @property
    def is_final(self) -> bool:
        return self.weights in FINAL

    @property
    def state(self) -> Fetching:
        if self.done:
            return Fetching.DONE
        if not self.trouble:
            return Fetching.LOADING if self.image else Fetching.PULLING
        if self.queue:
            return Fetching.WAITING
        if self.weights:
            return Fetching(self.weights.value)
        if about_disk(self.trouble):
            return Fetching.DISK
        return Fetching.REGISTRY if self.pulls else Fetching.PLACE


@dataclass(frozen=True, slots=True)
class Prefetch:
    """`nodes`: where it is wanted."""

    nodes: tuple[str, ...] = ()
    found: tuple[Fetched, ...] = ()
    skipped: str = ""  # why nothing is fetched
    cache: str = ""  # that weights are brought into

    @property
    def claim(self) -> str:
        """As what it stands among `nodes`; empty: there is none."""
        return f"{CLAIM}{self.cache}" if is_claim(self.cache) else ""

    @property
    def bring(self) -> tuple[str, ...]:
        """Of `nodes`: where weights have to be before an engine may start."""
        if self.claim:
            return (self.claim,)
        return self.nodes if self.cache else ()


def weights_of(model: ModelPin, cache: str = "") -> tuple[bool, str]:
    """Whether these pods bring the weights too, and in words why or why not."""
    if model.is_artifact:
        return True, f"{model.name} is an image volume: the kubelet pulls it by its digest"
    if model.is_path:
        return True, f"{model.name} is a path inside the image, and comes with it"
    if cache:
        return True, (
            f"{model.name} at {model.commit[:12]} is brought from its hub into {in_words(cache)},"
            " and engines read it there, offline"
        )
    return False, (
        f"{model.name} is a repository of a hub, and its release mounts no cache for it: an engine"
        " reads it offline, from what its image holds. Declare a cache on the page of the cluster"
        " and make a release, or pin it as an artifact of a registry, to have it brought"
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


def chosen(
    rooms: Iterable[NodeRoom],
    manifest: Manifest,
    replicas: int,
    troubled: Collection[str] = (),
) -> dict[str, Manifest]:
    """Pods to copy, by node: where one of them finds its GPUs, the emptiest first.

    Of a large cluster only as many nodes as the pods of so many replicas can need, so that a small
    service fills no disks and waits for no round after the other. `troubled`: nodes that failed by
    themselves (see `troubled_nodes`); each of them gets one more in its place.
    """
    specs = specs_of(manifest)
    sizes = (d["spec"].get("leaderWorkerTemplate", {}) for d in deployments_of(manifest))
    pods = replicas * sum(int(size.get("size", 1)) for size in sizes)
    most = min(max(SPARE * pods, AT_ONCE), MOST)
    usable = sorted((r for r in rooms if r.usable), key=lambda r: (-r.free - r.leaving, r.name))
    found: dict[str, Manifest] = {}
    for room in usable:
        if len(found) == MOST or len(found.keys() - set(troubled)) == most:
            break
        if spec := next((s for s in specs if _fits(room, s)), None):
            found[room.name] = spec
    return found


def troubled_nodes(found: Iterable[Fetched]) -> frozenset[str]:
    """Where the node is at fault and others may do. A hub refuses all of them, and so does a
    registry of which no node has the image.
    """
    all_found = tuple(found)
    own = {Fetching.DISK, Fetching.PLACE}
    if any(f.image for f in all_found):
        own.add(Fetching.REGISTRY)
    return frozenset(f.node for f in all_found if f.state in own)


def _fits(room: NodeRoom, spec: Manifest) -> bool:
    product = spec.get("nodeSelector", {}).get(f"{GPU}.product", room.product)
    gpus = whole(spec["containers"][0]["resources"]["limits"].get(GPU, 0))
    return product == room.product and room.free + room.leaving >= gpus


def pod_on(
    node: str,
    spec: Manifest,
    release: Manifest,
    owner: Part,
    seconds: float,
    bring: Manifest | None = None,
) -> Manifest:
    """`spec` of the release's pods, `release`: all of its objects, `owner` is there already.

    `bring`: what its container has to have to bring weights (`weights.container`).
    """
    cache = cache_of(spec) if bring else ""
    volumes = [v for v in spec.get("volumes", ()) if "image" in v]
    container = _container(spec, {v["name"] for v in volumes}) | (bring or {})
    if cache:
        volumes.append(volume(cache, read_only=False))
        container["volumeMounts"].append({"name": VOLUME, "mountPath": PLACE})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(node, release, owner, cache),
        "spec": {
            "activeDeadlineSeconds": max(round(seconds), 1),
            **_affinity(node),
            "automountServiceAccountToken": False,
            "containers": [container],
            "enableServiceLinks": False,
            "nodeSelector": spec.get("nodeSelector", {}),
            "restartPolicy": "OnFailure" if cache else "Never",  # hubs hiccup
            "terminationGracePeriodSeconds": 1,
            "tolerations": spec["tolerations"],
            "volumes": volumes,
        },
    }


def _metadata(node: str, release: Manifest, owner: Part, cache: str) -> Manifest:
    meta = release["metadata"]
    owned = {"kind": owner.kind, "name": owner.name, "uid": owner.uid}
    return {
        "name": name_on(node, meta["name"]),
        "namespace": meta["namespace"],
        "labels": {
            LABEL: meta["labels"][RELEASE],
            "app.kubernetes.io/managed-by": "quartermaster",
        },
        "annotations": {NODE: node} | ({BRINGS: cache} if cache else {}),
        "ownerReferences": [{"apiVersion": _version(release, owner), **owned}],
    }


def _container(spec: Manifest, images: set[str]) -> Manifest:
    """`images`: names of the volumes that are one."""
    engine = spec["containers"][0]
    small = {"cpu": "10m", "memory": "32Mi"}
    return {
        "name": "prefetch",
        "image": engine["image"],
        "command": NO_OP,
        "resources": {"limits": small, "requests": small},
        "securityContext": engine["securityContext"],
        "volumeMounts": [m for m in engine.get("volumeMounts", ()) if m["name"] in images],
    }


def _affinity(node: str) -> Manifest:
    if node.startswith(CLAIM):
        return {}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


def cache_of(spec: Manifest) -> str:
    """That the pods of a release mount; empty: none."""
    found = next((v for v in spec.get("volumes", ()) if v["name"] == VOLUME), None)
    if found is None:
        return ""
    kept: str = (
        found["hostPath"]["path"]
        if "hostPath" in found
        else (found["persistentVolumeClaim"]["claimName"])
    )
    return kept


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
    if BRINGS in meta.get("annotations", {}):
        this = _with_weights(this, container, status)
        if this.image:
            return this
    came = "running" in state or ended.get("reason") in PULLED or refused
    if came or status.get("phase") == "Succeeded":
        return replace(this, done=True, image=True)
    if waiting.get("reason", "ContainerCreating") != "ContainerCreating":
        return replace(this, pulls=True, trouble=text)
    if status.get("phase") in ENDED:
        text = f"{status.get('reason', 'Failed')}: {status.get('message', '')}"
        return replace(this, pulls=True, trouble=text)
    if queue := waits_in(pod):
        return replace(this, queue=queue, trouble=turn_in(queue))
    return replace(this, trouble=_no_place(status, [n for n in full if n == node]))


def _no_place(status: Mapping[str, Any], full: Sequence[str]) -> str:
    """Why it has none; empty: it has one, or nobody has looked yet."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return with_nodes(str(condition.get("message", "")), full)
    return ""


def _with_weights(
    this: Fetched, container: Mapping[str, Any], status: Mapping[str, Any]
) -> Fetched:
    """Of a pod that brings weights: as it was where it did not come so far as to begin."""
    state, before = container.get("state") or {}, container.get("lastState") or {}
    ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    if status.get("phase") == "Succeeded" or ended.get("exitCode") == 0:
        return replace(this, image=True, done=True, told=str(ended.get("message") or "").strip())
    failed = ended or before.get("terminated")
    if failed:
        kind, words = read_end(failed)
        return replace(this, image=True, pulls=True, weights=kind, trouble=words)
    if waiting.get("reason") in CONFIG:
        text = f"{waiting['reason']}: {waiting.get('message', '')}"
        kind = Trouble.DISK if about_disk(text) else Trouble.FAILED
        return replace(this, image=True, pulls=True, weights=kind, trouble=text)
    return replace(this, image="running" in state)
