"""Which engines answer for a model: the routing snapshot out of what is wanted and seen. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fleet.rules.groups import PREFILL, answers_clients, is_worker, leader_of
from fleet.rules.objectives import objective_of
from fleet.rules.probing import OUT_AFTER
from fleet.rules.release import SERVE
from fleet.rules.vllm_args import values_of, words_of
from fleet.rules.vllm_options import MEDIA_HOSTS
from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import (
    Canary,
    Endpoint,
    Objective,
    Pool,
    RoutingSnapshot,
    Service,
    WaitingRoom,
)

MAX_NUM_SEQS = 256  # a pod, where the release does not say


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod as it was seen, and how our probes of it went."""

    name: str
    address: str  # host:port
    node: str = ""
    ready: bool = True
    admitted: bool = True
    terminating: bool = False
    probe_failures: int = 0  # in a row
    role: str = SERVE
    gpus: int = 1  # of the engine that it answers for, all its pods together
    gpu_product: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A release placed in a cluster."""

    deployment_id: int
    release_id: int
    release: str  # fingerprint
    weight: int
    cluster: str
    region: str
    arguments: tuple[str, ...] = ()  # of the pods that answer clients
    roles: tuple[str, ...] = ()  # of which a whole replica is made; none: it is one pod
    replicas: tuple[Replica, ...] = ()
    hosted: bool = False
    provider: str = ""
    confidential: bool = False
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offered:
    """A service as people wrote it. Times in seconds."""

    id: int
    name: str
    objectives: Mapping[str, Any] = field(default_factory=dict)
    max_model_len: int = 4096
    default_max_tokens: int = 256
    max_queue: int = 256
    request_seconds: int = 300
    chunk_seconds: int = 30
    fallbacks: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()  # names of services in other clusters
    placed: tuple[Placed, ...] = ()
    canary: Canary | None = None
    waiting_room: WaitingRoom | None = None  # it sleeps, or wakes


def snapshot(services: Iterable[Offered]) -> RoutingSnapshot:
    """The content of a snapshot, without version and time. Same input, same bytes."""
    ordered = sorted(services, key=lambda s: s.name)
    return RoutingSnapshot(
        version=0, issued_at=0.0, services={s.name: _service(s) for s in ordered}
    )


def _service(offered: Offered) -> Service:
    pools = [_pool(p) for p in sorted(offered.placed, key=lambda p: p.deployment_id)]
    return Service(
        id=offered.id,
        name=offered.name,
        pools=tuple(p for p in pools if p.endpoints or p.weight),
        objectives={c: _objective(offered, c) for c in TrafficClass},
        max_model_len=offered.max_model_len,
        default_max_tokens=offered.default_max_tokens,
        max_queue=offered.max_queue,
        request_seconds=float(offered.request_seconds),
        chunk_seconds=float(offered.chunk_seconds),
        fallbacks=offered.fallbacks,
        placements=offered.placements,
        canary=offered.canary,
        waiting_room=offered.waiting_room,
    )


def _objective(offered: Offered, traffic_class: TrafficClass) -> Objective:
    found = objective_of(offered.objectives, traffic_class.value)
    return Objective(ttft_ms=found.ttft_ms, itl_ms=found.itl_ms, queue_ms=found.queue_ms)


def _pool(placed: Placed) -> Pool:
    given = values_of(placed.arguments)
    takes = healthy(placed.replicas)
    prefill = [r for r in takes if r.role == PREFILL]
    answering = [r for r in takes if answers_clients(r.role)]
    if PREFILL in placed.roles and not prefill:
        answering = []  # nobody reads their prompts, and a stranger must not
    return Pool(
        id=f"d{placed.deployment_id}",
        deployment_id=placed.deployment_id,
        release_id=placed.release_id,
        release=placed.release,
        cluster=placed.cluster,
        region=placed.region,
        weight=placed.weight,
        endpoints=endpoints_of(answering),
        prefill=endpoints_of(prefill) if answering else (),
        max_num_seqs=_whole(given.get("--max-num-seqs")) or MAX_NUM_SEQS,
        hosted=placed.hosted,
        provider=placed.provider if placed.hosted else "",
        confidential=placed.confidential,
        priority_scheduling=given.get("--scheduling-policy") == "priority",
        adapters=placed.adapters,
        media_hosts=words_of(given.get(MEDIA_HOSTS, "")),
    )


def endpoints_of(replicas: Iterable[Replica]) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(address=r.address, pod=r.name, node=r.node, gpus=r.gpus, gpu_product=r.gpu_product)
        for r in sorted(replicas, key=lambda r: r.name)
    )


def healthy(replicas: Sequence[Replica]) -> list[Replica]:
    """Replicas that take traffic; those that fail probes are left out while others remain.

    When all of a role fail, they stay: the fault is then ours or the load's as likely as theirs,
    and an empty pool would turn slow answers into none.
    """
    takes = [r for r in replicas if r.ready and r.admitted and not r.terminating and r.address]
    sound = [r for r in takes if r.probe_failures < OUT_AFTER]
    lost = {r.role for r in takes} - {r.role for r in sound}
    return sound + [r for r in takes if r.role in lost]


def with_workers(replicas: Sequence[Replica]) -> tuple[Replica, ...]:
    """Each with the GPUs of its whole engine: where it has workers, one of every rank."""
    ranks = {r.role: r.gpus for r in replicas if is_worker(r.role)}
    more: dict[str, int] = {}
    for role, gpus in ranks.items():
        more[leader_of(role)] = more.get(leader_of(role), 0) + gpus
    return tuple(replace(r, gpus=r.gpus + more.get(r.role, 0)) for r in replicas)


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0
