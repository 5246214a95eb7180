"""A release: everything that decides what a replica answers, pinned. Its digest is its name."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fleet.rules.pins import Pins, pins_from, stored

GPU = "nvidia.com/gpu"
SERVE = "serve"  # of a release without roles
KV_LEASE = 30  # seconds that vLLM keeps blocks which nobody fetched


def ranks_of(role: str, size: int) -> list[str]:
    """The leader by its role's name, then each worker by its rank: decode, decode-w1, decode-w2."""
    return [role, *(f"{role}-w{rank}" for rank in range(1, size))]


@dataclass(frozen=True, slots=True)
class ModelPin:
    """Weights, tokenizer and code. A name that begins with "/" is a path inside the image.

    With a digest as its commit, another name is an artifact: registry/repository.
    """

    name: str
    commit: str  # 40 hex, or sha256:64 hex of an artifact
    tokenizer_commit: str = ""  # empty: as the weights
    code_commit: str = ""
    chat_template_digest: str = ""

    @property
    def is_path(self) -> bool:
        return self.name.startswith("/")

    @property
    def is_artifact(self) -> bool:
        return self.commit.startswith("sha256:") and not self.is_path


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one pod of a replica. An empty GPU product: any node with GPUs."""

    gpu_product: str = ""
    gpus: int = 1
    cpu: str = "4"
    memory: str = "16Gi"
    shared_memory: str = "1Gi"
    group_size: int = 1  # pods, a node each, that are one engine: a leader and its workers
    topology: str = ""  # label of nodes: all pods of an engine on nodes of one value, alone there
    subgroup_size: int = 0  # so many pods are together instead; 0: all of the engine


def pods_of(resources: Resources) -> tuple[int, ...]:
    """GPUs of each pod of one engine."""
    return (resources.gpus,) * resources.group_size


@dataclass(frozen=True, slots=True)
class Probes:
    """Times in seconds. The grace of a pod is before + drain + after."""

    startup_seconds: int = 1800  # longest start, from created to loaded
    pre_stop_seconds: int = 15  # gateways that lag still find it
    drain_seconds: int = 90  # --shutdown-timeout
    teardown_seconds: int = 15
    kv_lease_seconds: int = KV_LEASE  # of roles: from the end of traffic until prefill goes

    @property
    def grace_seconds(self) -> int:
        return self.pre_stop_seconds + self.drain_seconds + self.teardown_seconds


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of pod of a release whose replica is a group of them: see `fleet.rules.groups`."""

    name: str  # prefill, decode
    replicas: int = 1  # pods of it in one replica of the release
    arguments: tuple[str, ...] = ()  # after those of the release: the last flag wins
    resources: Mapping[str, Any] = field(default_factory=dict)  # instead of those of the release


@dataclass(frozen=True, slots=True)
class ReleaseSpec:
    service: str  # the served model name
    model: ModelPin
    image: str  # repository without tag
    image_digest: str  # sha256:64 hex
    arguments: tuple[str, ...] = ()  # each "--flag" or "--flag=value"
    environment: Mapping[str, str] = field(default_factory=dict)
    pins: Pins = Pins()
    resources: Resources = Resources()
    probes: Probes = Probes()
    roles: tuple[Role, ...] = ()  # none: a replica is one pod

    @property
    def shape(self) -> dict[str, int]:
        """Pods of each role in one replica, workers apart. Empty: a replica is one pod."""
        found: dict[str, int] = {}
        for name, replicas, part in self.parts:
            found |= dict.fromkeys(ranks_of(name, part.resources.group_size), replicas)
        return {} if list(found) == [SERVE] else found

    @property
    def parts(self) -> "list[tuple[str, int, ReleaseSpec]]":
        """Role, engines of it in one replica, and what such an engine is made from."""
        found = [(role.name, role.replicas, self.part(role)) for role in self.roles]
        return found or [(SERVE, 1, self)]

    @property
    def gpus(self) -> int:
        """Of one replica, all its pods together."""
        return sum(self.gpus_of_pods)

    @property
    def gpus_of_pods(self) -> tuple[int, ...]:
        """GPUs of each pod of one replica."""
        return tuple(g for _, n, part in self.parts for g in pods_of(part.resources) * n)

    @property
    def pods_by_product(self) -> dict[str, tuple[int, ...]]:
        """GPUs of each pod of one replica, by the GPU product that it wants."""
        found: dict[str, tuple[int, ...]] = {}
        for _, replicas, part in self.parts:
            own = part.resources
            found[own.gpu_product] = found.get(own.gpu_product, ()) + pods_of(own) * replicas
        return dict(sorted(found.items()))

    @property
    def products(self) -> list[str]:
        """The GPU products that its pods want, however many pods."""
        return sorted({part.resources.gpu_product for _, _, part in self.parts})

    @property
    def is_mixed(self) -> bool:
        return len(self.products) > 1

    @property
    def product(self) -> str:
        """Of all its GPUs; those of several products have no one name."""
        return "" if self.is_mixed else self.products[0]

    def part(self, role: Role) -> "ReleaseSpec":
        """As if each pod of the role were a replica of a release of its own."""
        return replace(
            self,
            arguments=self.arguments + role.arguments,
            resources=replace(self.resources, **role.resources),
            roles=(),
        )


def canonical(spec: ReleaseSpec) -> dict[str, Any]:
    """The content that the digest covers. Arguments keep their order: the last flag wins."""
    content = asdict(spec) | {
        "arguments": list(spec.arguments),
        "environment": dict(sorted(spec.environment.items())),
        "resources": stored_resources(spec.resources),
        "probes": stored_probes(spec.probes),
        "roles": [stored_role(role) for role in spec.roles],
    }
    if not spec.roles:
        del content["roles"]  # releases from before there were any keep their digest
    del content["pins"]
    pinned = stored(spec.pins)
    return content | ({"pins": pinned} if pinned else {})


def stored_resources(resources: Resources) -> dict[str, Any]:
    """Without what is as it always was."""
    kept = asdict(resources)
    for name, usual in (("group_size", 1), ("topology", ""), ("subgroup_size", 0)):
        if kept[name] == usual:
            del kept[name]
    return kept


def stored_probes(probes: Probes) -> dict[str, Any]:
    """Likewise: releases from before there was a lease keep their digest."""
    usual = {"kv_lease_seconds"} if probes.kv_lease_seconds == KV_LEASE else set()
    return {name: value for name, value in asdict(probes).items() if name not in usual}


def stored_role(role: Role) -> dict[str, Any]:
    return {
        "name": role.name,
        "replicas": role.replicas,
        "arguments": list(role.arguments),
        "resources": dict(role.resources),
    }


def role_from(kept: Mapping[str, Any]) -> Role:
    return Role(**{**kept, "arguments": tuple(kept.get("arguments", ()))})


def digest_of(spec: ReleaseSpec) -> str:
    """Hexadecimal SHA-256 of the canonical form."""
    return digest_json(canonical(spec))


def digest_json(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of(digest: str) -> str:
    """What every answer of the release carries, and every object of it as a label."""
    return f"rel-{digest[:12]}"


def spec_from(
    *,
    service: str,
    model: Mapping[str, str],
    image: str,
    image_digest: str,
    arguments: list[str],
    environment: Mapping[str, str],
    resources: Mapping[str, Any],
    probes: Mapping[str, Any],
    pins: Mapping[str, Any] | None = None,
    roles: Iterable[Mapping[str, Any]] = (),
) -> ReleaseSpec:
    """Build a spec from the plain columns of a stored release."""
    return ReleaseSpec(
        service=service,
        model=ModelPin(**model),
        image=image,
        image_digest=image_digest,
        arguments=tuple(arguments),
        environment=dict(environment),
        pins=pins_from(pins or {}),
        resources=Resources(**resources),
        probes=Probes(**probes),
        roles=tuple(role_from(role) for role in roles),
    )
