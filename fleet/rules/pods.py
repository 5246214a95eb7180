"""The pods of a release: how vLLM runs in them, and what probes and kubelets know of it. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet.rules import members, volumes, weights
from fleet.rules.groups import leader_of
from fleet.rules.release import GPU, SERVE, ReleaseSpec, fingerprint_of
from fleet.rules.vllm_args import rendered, values_of
from fleet.rules.vllm_options import MEDIA_HOSTS

Manifest = dict[str, Any]
PREFIX = "quartermaster.dev"
ADMITTED = f"{PREFIX}/admitted"
KV_DOMAIN = "QUARTERMASTER_KV_DOMAIN"  # whose blocks an engine may take
PRIORITY = "serving-stable"
PORT = 8000
CONTAINER = "vllm"
LONGEST = 63
LONGEST_SET = 46  # its controller makes labels of it, with a number and a hash


def name_of(service: str, digest: str, role: str = "", longest: int = LONGEST) -> str:
    """Of the Deployment: at most 63 characters, the parts of release and role whole."""
    end = f"-{digest[:8]}" + f"-{role}" * bool(role)
    return service[: longest - len(end)].rstrip("-") + end


def peers_name(spec: ReleaseSpec, digest: str) -> str:
    return name_of(spec.service, digest, "group", LONGEST_SET)


@dataclass(frozen=True, slots=True)
class Part:
    """What the pods of one Deployment, or of one rank of an engine over several, are made from."""

    spec: ReleaseSpec  # as these pods have it
    digest: str  # of the whole release
    role: str = SERVE
    each: int = 1  # pods of it in one replica of the release
    rank: str = "0"
    sets: str = ""  # version of LeaderWorkerSet, where it makes the group

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.digest)

    @property
    def size(self) -> int:
        return self.spec.resources.group_size

    @property
    def works(self) -> bool:
        return self.rank != "0"

    @property
    def name(self) -> str:
        """Of its StatefulSet or LeaderWorkerSet, or of its Deployment."""
        role = self.role.removeprefix(SERVE).lstrip("-")
        return name_of(self.spec.service, self.digest, role, self.longest)

    @property
    def longest(self) -> int:
        return LONGEST_SET if self.size > 1 else LONGEST

    @property
    def place(self) -> list[str]:
        return members.arguments(self.size, self.rank, self.leader) if self.size > 1 else []

    @property
    def leader(self) -> str:
        """Its group's leader, by a name that the cluster resolves."""
        if self.sets:
            return "$(LWS_LEADER_ADDRESS)"
        first = replace(self, role=leader_of(self.role), rank="0")
        return f"{first.name}-$({members.INDEX}).{peers_name(self.spec, self.digest)}"


def pod(part: Part, max_model_len: int) -> Manifest:
    spec = part.spec
    product = spec.resources.gpu_product
    selector = {"nodeSelector": {f"{GPU}.product": product}} if product else {}
    return selector | {
        # A Service named "vllm" would inject VLLM_PORT=tcp://... and kill the engine.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": grace_of(part),
        "priorityClassName": PRIORITY,
        **({} if part.works else {"readinessGates": [{"conditionType": ADMITTED}]}),
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


def grace_of(part: Part) -> int:
    """Seconds. A worker stays until its leader is gone: the requests of that run on it as well."""
    grace = part.spec.probes.grace_seconds
    return grace + part.spec.probes.teardown_seconds if part.works else grace


def container(part: Part, max_model_len: int) -> Manifest:
    spec = part.spec
    r, p = spec.resources, spec.probes
    wait = p.grace_seconds if part.works else p.pre_stop_seconds
    before = {"lifecycle": {"preStop": {"sleep": {"seconds": wait}}}}
    faces = {} if part.works else facing(p.startup_seconds)
    return (before if wait else {}) | {
        "name": CONTAINER,
        "image": f"{spec.image}@{spec.image_digest}",
        "args": arguments(spec, max_model_len, part.fingerprint, part.place),
        "env": environment(part),
        "resources": {
            "limits": {GPU: str(r.gpus), "memory": r.memory},
            "requests": {GPU: str(r.gpus), "cpu": r.cpu, "memory": r.memory},
        },
        **faces,
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


def facing(startup_seconds: int) -> Manifest:
    """Of whoever speaks HTTP; a worker does not."""
    return {
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe("/health", period=2, failures=-(-startup_seconds // 2), timeout=2),
        # A drain is not seen by it: traffic leaves first.
        "readinessProbe": probe("/v1/models", period=1, failures=2, timeout=1),
        "livenessProbe": probe("/health", period=10, failures=10, timeout=5),
    }


def probe(path: str, *, period: int, failures: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def arguments(
    spec: ReleaseSpec, max_model_len: int, fingerprint: str, place: Sequence[str] = ()
) -> list[str]:
    """What follows `vllm serve`; the release's own arguments come last. `place`: of the pod in an
    engine over several.
    """
    model = spec.model
    found = [volumes.place_of(model), f"--served-model-name={spec.service}", f"--port={PORT}"]
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
        *place,
    ]
    if adapters := spec.pins.adapters:
        named = ({"name": one.name, "path": one.path} for one in adapters)
        found += ["--lora-modules", *(json.dumps(one) for one in named)]
    if "--max-model-len" not in values_of(spec.arguments):
        found.append(f"--max-model-len={max_model_len}")
    return [*found, *rendered(spec.arguments)]


def environment(part: Part) -> list[dict[str, Any]]:
    spec = part.spec
    ours = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(spec.probes.startup_seconds),
    }
    if MEDIA_HOSTS in values_of(spec.arguments):
        ours["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] = "0"  # a host of the list could send it anywhere
    # Only the files: what engines write (locks, code of models) stays in the container.
    cache = {"HF_HUB_CACHE": weights.PLACE} if spec.pins.weights else {}
    given = (ours | dict(sorted(spec.environment.items())) | cache).items()
    found: list[dict[str, Any]] = [{"name": k, "value": v} for k, v in given]
    if part.size > 1:
        found += of_group(part)
    if leader_of(part.role) == SERVE:
        return found
    # Where peers find it, and whose blocks are its own.
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    return [
        *found,
        {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": address},
        {"name": KV_DOMAIN, "value": part.fingerprint},
    ]


def of_group(part: Part) -> list[dict[str, Any]]:
    """Which group it is of. Those of one name meet, and nobody else."""
    found: list[dict[str, Any]] = []
    if not part.sets:
        field = {"fieldRef": {"fieldPath": f"metadata.labels['{members.POD_INDEX}']"}}
        found.append({"name": members.INDEX, "valueFrom": field})
    return [*found, {"name": members.GROUP, "value": f"{part.fingerprint}@{part.leader}"}]
