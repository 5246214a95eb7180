"""Kubernetes objects of a release. Pure: the same release gives the same bytes.

One Deployment per release and role, so names and selectors never mix and a rollback is a number.
All replicas have one priority: a canary cannot evict production, and need not restart to become it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fleet.rules import volumes
from fleet.rules.groups import SERVE
from fleet.rules.release import GPU, ReleaseSpec, digest_of, fingerprint_of
from fleet.rules.vllm_args import values_of

Manifest = dict[str, Any]
PREFIX = "quartermaster.dev"
SERVICE = f"{PREFIX}/service"
RELEASE = f"{PREFIX}/release"
ROLE = f"{PREFIX}/role"
EACH = f"{PREFIX}/pods-of-a-replica"  # of this role
KV_DOMAIN = "QUARTERMASTER_KV_DOMAIN"  # whose blocks an engine may take
FENCE = f"{PREFIX}/fence"
ADMITTED = f"{PREFIX}/admitted"
MANAGER = "quartermaster-rollout"  # of fields, as the API server keeps them apart
PRIORITY = "serving-stable"
PORT = 8000
CONTAINER = "vllm"
FILES = "ConfigMap"
OF_A_RELEASE = frozenset({"Deployment", "NetworkPolicy", FILES})


def name_of(service: str, digest: str, role: str = "") -> str:
    """Of the Deployment: at most 63 characters, the parts of release and role whole."""
    end = f"-{digest[:8]}" + f"-{role}" * bool(role)
    return service[: 63 - len(end)].rstrip("-") + end


def selector_of(service: str) -> str:
    """Finds everything of a service, whatever its release."""
    return f"{SERVICE}={service}"


@dataclass(frozen=True, slots=True)
class Part:
    """What the pods of one Deployment are made from."""

    spec: ReleaseSpec  # as these pods have it
    digest: str  # of the whole release
    role: str = SERVE
    each: int = 1  # pods of it in one replica of the release

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.digest)


def parts_of(spec: ReleaseSpec) -> list[Part]:
    digest = digest_of(spec)
    parts = [Part(spec.part(role), digest, role.name, role.replicas) for role in spec.roles]
    return parts or [Part(spec, digest)]


def render(spec: ReleaseSpec, namespace: str, max_model_len: int) -> list[Manifest]:
    """All objects of a release, without replicas; the whole of what an approval binds to."""
    made = [deployment(part, namespace, max_model_len) for part in parts_of(spec)]
    fence = [fence_of(spec, namespace)] if spec.roles else []
    return [budget(spec.service, namespace), *fence, *files(spec, namespace), *made]


def workload(manifests: Iterable[Manifest]) -> Manifest:
    """What is scaled, of all objects of a release: its Deployment; with roles or files, the group
    of them as one list, with what belongs to it alone.
    """
    found = [m for m in manifests if m["kind"] in OF_A_RELEASE]
    if len(found) == 1:
        return found[0]
    first = next(m for m in found if m["kind"] == "Deployment")
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
    return [m for m in items_of(manifest) if m["kind"] == "Deployment"]


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
    """Pods of this Deployment in one replica of its release."""
    return int((manifest["metadata"].get("annotations") or {}).get(EACH, 1))


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
    """Ports on which KV blocks are handed over open to pods of the same release only."""
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
    spec = part.spec
    match = {SERVICE: spec.service, RELEASE: part.fingerprint}
    name, more = name_of(spec.service, part.digest), {}
    if part.role != SERVE:
        match |= {ROLE: part.role}
        name, more = name_of(spec.service, part.digest, part.role), {EACH: str(part.each)}
    labels = labels_of(spec.service) | {ROLE: part.role} | match
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {f"{PREFIX}/digest": part.digest} | more,
        },
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


def pod(part: Part, max_model_len: int) -> Manifest:
    spec = part.spec
    product = spec.resources.gpu_product
    selector = {"nodeSelector": {f"{GPU}.product": product}} if product else {}
    return selector | {
        # A Service named "vllm" would inject VLLM_PORT=tcp://... and kill the engine.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": spec.probes.grace_seconds,
        "priorityClassName": PRIORITY,
        "readinessGates": [{"conditionType": ADMITTED}],
        "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container(part, max_model_len)],
        "volumes": [
            {
                "name": "shm",
                "emptyDir": {"medium": "Memory", "sizeLimit": spec.resources.shared_memory},
            },
            *volumes.volumes(spec, name_of(spec.service, part.digest)),
        ],
    }


def container(part: Part, max_model_len: int) -> Manifest:
    spec = part.spec
    r, p = spec.resources, spec.probes
    before = {"lifecycle": {"preStop": {"sleep": {"seconds": p.pre_stop_seconds}}}}
    return (before if p.pre_stop_seconds else {}) | {
        "name": CONTAINER,
        "image": f"{spec.image}@{spec.image_digest}",
        "args": arguments(spec, max_model_len, part.fingerprint),
        "env": environment(part),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "limits": {GPU: str(r.gpus), "memory": r.memory},
            "requests": {GPU: str(r.gpus), "cpu": r.cpu, "memory": r.memory},
        },
        "startupProbe": probe("/health", period=2, failures=-(-p.startup_seconds // 2), timeout=2),
        # A drain is not seen by it: traffic leaves first.
        "readinessProbe": probe("/v1/models", period=1, failures=2, timeout=1),
        "livenessProbe": probe("/health", period=10, failures=10, timeout=5),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            *volumes.mounts(spec),
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def probe(path: str, *, period: int, failures: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def arguments(spec: ReleaseSpec, max_model_len: int, fingerprint: str) -> list[str]:
    """What follows `vllm serve`; the release's own arguments come last."""
    model = spec.model
    place = volumes.place_of(model)
    found = [place, f"--served-model-name={spec.service}", f"--port={PORT}"]
    if not (model.is_path or model.is_artifact):
        found += [
            f"--revision={model.commit}",
            f"--tokenizer-revision={model.tokenizer_commit or model.commit}",
            f"--code-revision={model.code_commit or model.commit}",
        ]
    found += [
        f"--shutdown-timeout={spec.probes.drain_seconds}",
        "--fingerprint-mode=custom",
        f"--fingerprint-value={fingerprint}",
        "--disable-access-log-for-endpoints=/health,/metrics,/ping",
        "--disable-fastapi-docs",
        "--enable-prompt-tokens-details",
    ]
    if adapters := spec.pins.adapters:
        named = ({"name": one.name, "path": one.path} for one in adapters)
        found += ["--lora-modules", *(json.dumps(one) for one in named)]
    if "--max-model-len" not in values_of(spec.arguments):
        found.append(f"--max-model-len={max_model_len}")
    return found + list(spec.arguments)


def environment(part: Part) -> list[dict[str, Any]]:
    spec = part.spec
    ours = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(spec.probes.startup_seconds),
    }
    given = (ours | dict(sorted(spec.environment.items()))).items()
    found: list[dict[str, Any]] = [{"name": k, "value": v} for k, v in given]
    if part.role == SERVE:
        return found
    # Where peers find it, and whose blocks are its own.
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    return [
        *found,
        {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": address},
        {"name": KV_DOMAIN, "value": part.fingerprint},
    ]
