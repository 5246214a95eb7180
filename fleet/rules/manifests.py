"""Kubernetes objects of a release. Pure: the same release gives the same bytes.

One Deployment per release, so names and selectors never mix and a rollback is a number. All
replicas have one priority: a canary cannot evict production, and need not restart to become it.
"""

import json
from typing import Any

from fleet.rules import volumes
from fleet.rules.release import GPU, ReleaseSpec, digest_of, fingerprint_of
from fleet.rules.vllm_args import values_of

Manifest = dict[str, Any]
PREFIX = "quartermaster.dev"
SERVICE = f"{PREFIX}/service"
RELEASE = f"{PREFIX}/release"
ROLE = f"{PREFIX}/role"
FENCE = f"{PREFIX}/fence"
ADMITTED = f"{PREFIX}/admitted"
MANAGER = "quartermaster-rollout"  # of fields, as the API server keeps them apart
PRIORITY = "serving-stable"
PORT = 8000
CONTAINER = "vllm"


def name_of(service: str, digest: str) -> str:
    """Of the Deployment: at most 63 characters, the release's part whole."""
    return f"{service[:54].rstrip('-')}-{digest[:8]}"


def selector_of(service: str) -> str:
    """Finds everything of a service, whatever its release."""
    return f"{SERVICE}={service}"


def render(spec: ReleaseSpec, namespace: str, max_model_len: int) -> list[Manifest]:
    """All objects of a release, without replicas; the whole of what an approval binds to."""
    return [budget(spec.service, namespace), deployment(spec, namespace, max_model_len)]


def placed(manifest: Manifest, *, replicas: int, fence: int, uid: str = "") -> Manifest:
    """The Deployment as it shall be now. Only its scale and its fence ever change.

    With `uid` it is this very one that was seen: one that is gone meanwhile is not made again.
    """
    meta = manifest["metadata"] | ({"uid": uid} if uid else {})
    annotations = meta.get("annotations", {}) | {FENCE: str(fence)}
    return manifest | {
        "metadata": meta | {"annotations": annotations},
        "spec": manifest["spec"] | {"replicas": replicas},
    }


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


def labels_of(service: str) -> dict[str, str]:
    """What the pods of every release of a service have in common."""
    return {
        SERVICE: service,
        ROLE: "serve",
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": service,
        "app.kubernetes.io/managed-by": "quartermaster",
    }


def deployment(spec: ReleaseSpec, namespace: str, max_model_len: int) -> Manifest:
    digest = digest_of(spec)
    match = {SERVICE: spec.service, RELEASE: fingerprint_of(digest)}
    labels = labels_of(spec.service) | match
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name_of(spec.service, digest),
            "namespace": namespace,
            "labels": labels,
            "annotations": {f"{PREFIX}/digest": digest},
        },
        "spec": {
            # Deadlines are the rollout's own; this one must never mark a slow start as failed.
            "progressDeadlineSeconds": spec.probes.startup_seconds + 600,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": match},
            # A surge pod would wait for a GPU that its predecessor holds.
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": labels}, "spec": pod(spec, max_model_len)},
        },
    }


def pod(spec: ReleaseSpec, max_model_len: int) -> Manifest:
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
        "containers": [container(spec, max_model_len)],
        "volumes": [
            {
                "name": "shm",
                "emptyDir": {"medium": "Memory", "sizeLimit": spec.resources.shared_memory},
            },
            *volumes.volumes(spec),
        ],
    }


def container(spec: ReleaseSpec, max_model_len: int) -> Manifest:
    r, p = spec.resources, spec.probes
    before = {"lifecycle": {"preStop": {"sleep": {"seconds": p.pre_stop_seconds}}}}
    return (before if p.pre_stop_seconds else {}) | {
        "name": CONTAINER,
        "image": f"{spec.image}@{spec.image_digest}",
        "args": arguments(spec, max_model_len),
        "env": environment(spec),
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


def arguments(spec: ReleaseSpec, max_model_len: int) -> list[str]:
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
        f"--fingerprint-value={fingerprint_of(digest_of(spec))}",
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


def environment(spec: ReleaseSpec) -> list[dict[str, str]]:
    ours = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(spec.probes.startup_seconds),
    }
    return [
        {"name": k, "value": v} for k, v in (ours | dict(sorted(spec.environment.items()))).items()
    ]
