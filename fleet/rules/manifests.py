"""Kubernetes objects of a release. Pure: the same release gives the same bytes.

One Deployment per release and role, so names and selectors never mix and a rollback is a number.
An engine over several pods is a LeaderWorkerSet where the cluster has it, else a StatefulSet for
each rank: the pods with the same number are one group, and their numbers go up and down together.
All replicas have one priority: a canary cannot evict production, and need not restart to become it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fleet.rules import volumes
from fleet.rules.members import (
    EXCLUSIVE,
    LEADER_WORKER_SET,
    MASTER_PORT,
    SETS,
    SIZE,
    SUBGROUP_EXCLUSIVE,
)
from fleet.rules.pods import ADMITTED as ADMITTED
from fleet.rules.pods import PORT as PORT
from fleet.rules.pods import PREFIX, Part, peers_name, pod
from fleet.rules.pods import Manifest as Manifest
from fleet.rules.pods import name_of as name_of
from fleet.rules.quantity import whole
from fleet.rules.release import SERVE, ReleaseSpec, digest_of, fingerprint_of, ranks_of

SERVICE = f"{PREFIX}/service"
RELEASE = f"{PREFIX}/release"
ROLE = f"{PREFIX}/role"
EACH = f"{PREFIX}/pods-of-a-replica"  # of this role
FENCE = f"{PREFIX}/fence"
MANAGER = "quartermaster-rollout"  # of fields, as the API server keeps them apart
FILES = "ConfigMap"
SCALED = frozenset({"Deployment", "StatefulSet", LEADER_WORKER_SET})
OF_A_RELEASE = SCALED | {"NetworkPolicy", "Service", FILES}


def selector_of(service: str) -> str:
    """Finds everything of a service, whatever its release."""
    return f"{SERVICE}={service}"


def parts_of(spec: ReleaseSpec, sets: str = "") -> list[Part]:
    """A LeaderWorkerSet is one part, that of its leader."""
    digest = digest_of(spec)
    return [
        Part(part, digest, role, each, str(rank), sets if part.resources.group_size > 1 else "")
        for name, each, part in spec.parts
        for rank, role in enumerate(ranks_of(name, part.resources.group_size))
        if not (sets and rank)
    ]


def render(spec: ReleaseSpec, namespace: str, max_model_len: int, sets: str = "") -> list[Manifest]:
    """All objects of a release, without replicas; the whole of what an approval binds to.

    `sets`: the version of LeaderWorkerSet that the cluster has; empty: none.
    """
    parts = parts_of(spec, sets)
    made = [deployment(part, namespace, max_model_len) for part in parts]
    fence = [fence_of(spec, namespace)] if spec.shape else []
    if any(part.size > 1 and not part.sets for part in parts):
        fence.append(peers_of(spec, namespace))
    return [budget(spec.service, namespace), *fence, *files(spec, namespace), *made]


def workload(manifests: Iterable[Manifest]) -> Manifest:
    """What is scaled, of all objects of a release: its Deployment; with roles or files, the group
    of them as one list, with what belongs to it alone.
    """
    found = [m for m in manifests if m["kind"] in OF_A_RELEASE]
    if len(found) == 1:
        return found[0]
    first = next(m for m in found if m["kind"] in SCALED)
    labels = {k: v for k, v in first["metadata"]["labels"].items() if k != ROLE}
    digest = first["metadata"]["annotations"][f"{PREFIX}/digest"]
    meta = {
        "name": name_of(labels[SERVICE], digest),
        "namespace": first["metadata"]["namespace"],
        "labels": labels,
    }
    return {"apiVersion": "v1", "kind": "List", "metadata": meta, "items": found}


def surroundings(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The objects of the service, whatever its release."""
    return [m for m in manifests if m["kind"] not in OF_A_RELEASE]


def items_of(manifest: Manifest) -> list[Manifest]:
    """The objects of what is scaled."""
    found: list[Manifest] = manifest.get("items", [manifest])
    return found


def deployments_of(manifest: Manifest) -> list[Manifest]:
    """What has a number of replicas, whatever its kind."""
    return [m for m in items_of(manifest) if m["kind"] in SCALED]


def kinds_of(*manifests: Manifest) -> frozenset[str]:
    """Of what is scaled."""
    return frozenset(m["kind"] for whole in manifests for m in deployments_of(whole))


def files_of(manifest: Manifest) -> list[Manifest]:
    return [m for m in items_of(manifest) if m["kind"] == FILES]


def placed(manifest: Manifest, *, replicas: int, fence: int, uid: str = "") -> Manifest:
    """The Deployment as it shall be now. Only its scale and its fence ever change.

    `replicas` of the release. With `uid` it is this very one that was seen: one that is gone
    meanwhile is not made again.
    """
    meta = manifest["metadata"] | ({"uid": uid} if uid else {})
    annotations = meta.get("annotations", {}) | {FENCE: str(fence)}
    return manifest | {
        "metadata": meta | {"annotations": annotations},
        "spec": manifest["spec"] | {"replicas": replicas * each_of(manifest)},
    }


def each_of(manifest: Mapping[str, Any]) -> int:
    """Pods of this Deployment in one replica of its release. By hand anything may stand there."""
    return max(whole((manifest["metadata"].get("annotations") or {}).get(EACH, 1)), 1)


def budget(service: str, namespace: str) -> Manifest:
    """Drains of nodes take one replica of a service at a time, of whichever release."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": {SERVICE: service, "app.kubernetes.io/managed-by": "quartermaster"},
        },
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {SERVICE: service}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def fence_of(spec: ReleaseSpec, namespace: str) -> Manifest:
    """Ports on which KV blocks are handed over, and on which the pods of an engine meet, open to
    pods of the same release only.
    """
    match = {SERVICE: spec.service, RELEASE: fingerprint_of(digest_of(spec))}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"{name_of(spec.service, digest_of(spec))}-kv",
            "namespace": namespace,
            "labels": match | {"app.kubernetes.io/managed-by": "quartermaster"},
        },
        "spec": {
            "podSelector": {"matchLabels": match},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"port": PORT, "protocol": "TCP"}]},
                {"from": [{"podSelector": {"matchLabels": match}}]},
            ],
        },
    }


def peers_of(spec: ReleaseSpec, namespace: str) -> Manifest:
    """Names for the pods of an engine over several: without an address of its own, and from the
    beginning, as a leader is ready only after its workers have found it.
    """
    digest = digest_of(spec)
    match = {SERVICE: spec.service, RELEASE: fingerprint_of(digest)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": peers_name(spec, digest),
            "namespace": namespace,
            "labels": match | {"app.kubernetes.io/managed-by": "quartermaster"},
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": match,
            "ports": [{"name": "group", "port": MASTER_PORT, "protocol": "TCP"}],
        },
    }


def files(spec: ReleaseSpec, namespace: str) -> list[Manifest]:
    """ConfigMaps of the release alone. Nobody may change one under it, and they go with it."""
    digest = digest_of(spec)
    own = name_of(spec.service, digest)
    labels = {
        SERVICE: spec.service,
        RELEASE: fingerprint_of(digest),
        "app.kubernetes.io/managed-by": "quartermaster",
    }
    return [
        {
            "apiVersion": "v1",
            "kind": FILES,
            "metadata": {
                "name": volumes.config_name(own, spec, name),
                "namespace": namespace,
                "labels": labels,
            },
            "immutable": True,
            "data": dict(sorted(content.items())),
        }
        for name, content in sorted(spec.pins.files.items())
    ]


def labels_of(service: str) -> dict[str, str]:
    """What the pods of every release of a service have in common, its role aside."""
    return {
        SERVICE: service,
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": service,
        "app.kubernetes.io/managed-by": "quartermaster",
    }


def deployment(part: Part, namespace: str, max_model_len: int) -> Manifest:
    """Or what stands for it where the engine spans several pods."""
    spec = part.spec
    match = {SERVICE: spec.service, RELEASE: part.fingerprint}
    more = {}
    if part.role != SERVE:
        match |= {ROLE: part.role}
        more = {EACH: str(part.each)}
    labels = labels_of(spec.service) | {ROLE: part.role} | match
    return {
        "metadata": {
            "name": part.name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {f"{PREFIX}/digest": part.digest} | more | exclusive(part),
        },
    } | body_of(part, labels, match, max_model_len)


def exclusive(part: Part) -> dict[str, str]:
    """What the controller of LeaderWorkerSet makes affinities from: with no other such group."""
    own = part.spec.resources
    if not (part.sets and own.topology):
        return {}
    return {SUBGROUP_EXCLUSIVE if own.subgroup_size else EXCLUSIVE: own.topology}


def body_of(
    part: Part, labels: dict[str, str], match: dict[str, str], max_model_len: int
) -> Manifest:
    spec = part.spec
    if part.size == 1:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {
                # Deadlines are the rollout's own; this one must never mark a slow start as failed.
                "progressDeadlineSeconds": spec.probes.startup_seconds + 600,
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": match},
                # A surge pod would wait for a GPU that its predecessor holds.
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": labels}, "spec": pod(part, max_model_len)},
            },
        }
    labels = labels | {SIZE: str(part.size)}
    template = {"metadata": {"labels": labels}, "spec": pod(part, max_model_len)}
    if not part.sets:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "spec": {
                "podManagementPolicy": "Parallel",
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": match | {ROLE: part.role}},
                "serviceName": peers_name(spec, part.digest),
                "template": template,
            },
        }
    worker = replace(part, rank="$(LWS_WORKER_INDEX)")
    return {
        "apiVersion": f"{SETS}/{part.sets}",
        "kind": LEADER_WORKER_SET,
        "spec": {
            "leaderWorkerTemplate": {
                "size": part.size,
                **subgroups(part),
                # A pod that is made anew forgets why it ended: the console does that where it must.
                "restartPolicy": "None",
                "leaderTemplate": template,
                "workerTemplate": template | {"spec": pod(worker, max_model_len)},
            },
            "startupPolicy": "LeaderCreated",
        },
    }


def subgroups(part: Part) -> Manifest:
    size = part.spec.resources.subgroup_size
    return {"subGroupPolicy": {"subGroupSize": size}} if size else {}
