"""The routing snapshot: which pools answer for a model, where they are, how they are weighted."""

from __future__ import annotations

import msgspec

from gateway.contract.outcomes import TrafficClass

SCHEMA = 2
WORKER_HEADER = "x-gateway-worker"  # names who asks the console for routing
READS = frozenset({1, 2})  # 1 had no canary; gateways are renewed before the console


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """Latency objective of a class, in milliseconds."""

    ttft_ms: int
    itl_ms: int
    queue_ms: int  # longest wait in the gateway before the request is timed out


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    address: str  # host:port of one pod
    pod: str
    node: str = ""
    gpus: int = 1  # of the engine behind it, all its pods together
    gpu_product: str = ""  # empty: not known


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The ready endpoints of one release in one cluster.

    With `prefill`, the release is one KV domain of two roles: an endpoint of `prefill` reads the
    prompt first and hands its KV blocks to the one of `endpoints` that answers. They are never
    paired with those of another pool.
    """

    id: str
    deployment_id: int
    release_id: int
    release: str  # fingerprint, `rel-<digest12>`
    cluster: str
    region: str
    weight: int  # share of the service's traffic; 0 takes nothing new
    endpoints: tuple[Endpoint, ...]
    max_num_seqs: int = 256  # a pod
    hosted: bool = False
    provider: str = ""  # whose bill it is on, of a hosted one; a console before this said none
    confidential: bool = False
    priority_scheduling: bool = False
    # A gateway that does not know this yet lets `endpoints` read their prompts themselves.
    prefill: tuple[Endpoint, ...] = ()
    # Names of LoRA adapters that these endpoints answer to, beside the service's. A gateway that
    # does not know this yet says that there are no such models.
    adapters: tuple[str, ...] = ()
    # Hosts from which its engines fetch what messages name. Empty: only what messages hold.
    media_hosts: tuple[str, ...] = ()


def provider_of(pool: Pool) -> str:
    """Who answers instead of the fleet's own GPUs; empty: these do."""
    return (pool.provider or pool.cluster) if pool.hosted else ""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout that moves traffic in shares: those are the weights of the pools.

    Who takes part stays, with each conversation, on one side. Whoever does not is answered by the
    other releases as long as these have an engine.
    """

    rollout_id: int
    release_id: int  # the new one
    only_tenants: tuple[int, ...] = ()  # with the two below: when not empty, nobody else takes part
    only_applications: tuple[int, ...] = ()
    only_classes: tuple[TrafficClass, ...] = ()
    never_tenants: tuple[int, ...] = ()  # take no part, whatever else names them
    # Of the requests of those who take part, so many percent are copied to the new release, and
    # its answers are dropped. A gateway that does not know this yet copies nothing.
    shadow_percent: int = 0


class WaitingRoom(msgspec.Struct, frozen=True, kw_only=True):
    """Of a service that sleeps at 0 replicas, or wakes: here its requests wait for an engine."""

    most: int  # waiting requests, in all gateways together
    wait_seconds: float  # longest wait of one of them
    start_seconds: float  # what a start takes: p95 of measured ones, or what is assumed
    since: float | None = None  # seconds since the epoch: its first replica was ordered then


class Service(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str  # the served model name that clients send
    pools: tuple[Pool, ...]
    objectives: dict[TrafficClass, Objective]
    max_model_len: int = 4096
    default_max_tokens: int = 256
    max_queue: int = 256  # waiting requests of the service in one gateway worker
    request_seconds: float = 300.0  # longest whole request
    chunk_seconds: float = 30.0  # longest silence between two chunks
    fallbacks: tuple[str, ...] = ()  # other services, in order
    # Services that answer for this name in other clusters, in order: for all who may use this one.
    # A gateway that does not know them yet asks this one alone.
    placements: tuple[str, ...] = ()
    canary: Canary | None = None
    # None: it is awake. A gateway that does not know this yet refuses after 2 s, as it always did.
    waiting_room: WaitingRoom | None = None


class RoutingSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    version: int
    issued_at: float
    services: dict[str, Service]
