"""Cost attribution: the GPU time of one hour, split into tenants, idle and overhead.

Method `engine-time-1`: a pool is the time of like GPUs that did one thing in one hour.
Serving GPUs of a service are shared by the engine time that each tenant's requests took there, on
so many GPUs as the engine has; time that nobody used is idle. What a hosted provider answered has
no part of the fleet's own GPUs, only of those of hosted clusters. Where requests overlap and
their sum is more than the GPUs' time, they share all of it. Free GPUs are idle; loading, draining
and out-of-service ones are overhead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import TypeVar

METHOD, WORK_METHOD = "engine-time-1", "token-work-1"
POOLS = (
    "The time of GPUs of one product, node pool and kind of capacity that did one thing in one"
    " hour is a pool; it costs time x the hour of the most specific line of the node prices. Idle"
    " time of reserved GPUs is their owner's. A part of a GPU and what engines used of it count"
    " by its fraction."
)
# As pages print it. A method never changes: another rule gets another name.
METHODS = {
    METHOD: (
        f"{POOLS} Serving GPUs of a service are shared by the engine"
        " time of each tenant's requests x the GPUs of the engine, by largest remainder; time that"
        " nobody used is idle. What a hosted provider answered used none of the fleet's own GPUs."
        " Free GPUs are idle; loading, draining and out-of-service ones are overhead. Idle and"
        " overhead are shown, and spread by what each caused directly."
    ),
    WORK_METHOD: (
        f"{POOLS} Serving GPUs of a service worked as long as its"
        " requests were in the engine, on all its GPUs; that time is shared by token work: prompt"
        " tokens that were not cached x the release's prefill weight + completion tokens x its"
        " decode weight. A release whose weights could not be fitted counts with its engine time."
        " Time that nobody used, and free GPUs, are idle; loading, draining and out-of-service ones"
        " are overhead. What cached tokens would have cost is shown beside the shares and is in"
        " none of them."
    ),
}
PICO = Decimal("0.000000000001")
HOUR_MS = 3_600_000
K = TypeVar("K", int, str, tuple[str, str])  # a tenant, a service, a release of one
Source = tuple[int, bool]  # a service, and whether engines of a hosted provider answer for it
IDLE, OVERHEAD, TENANT = "idle", "overhead", "tenant"
SERVING, FREE = "serving", "free"
UNUSED = "unused"  # paid for by a commitment, and not on any node


@dataclass(frozen=True, slots=True)
class GpuPool:
    """GPU-milliseconds of one hour by what they did. `service_id` 0: no service held them."""

    cluster: str
    product: str
    state: str
    service_id: int
    service: str
    gpu_ms: int  # of whole GPUs: time of a part of one counts by its fraction
    node_pool: str = ""
    capacity: str = ""
    profile: str = ""
    # In a cluster that others run: not in its text, so hours keep the digest of their inputs.
    hosted: bool = field(default=False, repr=False)
    # The same time with each part of a GPU as a whole one, as engines count theirs; 0: the same.
    device_ms: int = field(default=0, repr=False)

    @property
    def source(self) -> "Source":
        return self.service_id, self.hosted


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    tenant_id: int
    application_id: int
    model: str
    release: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    kind: str
    consumer: Consumer | None
    model: str
    weight: int
    amount: Decimal
    saved: Decimal = Decimal(0)  # what cached tokens would have cost; in no sum


def pool_cost(gpu_ms: int, hourly: Decimal) -> Decimal:
    """Currency units, rounded once, half to even, at 12 decimals."""
    exact = Fraction(gpu_ms) * Fraction(hourly) / HOUR_MS
    scaled = exact * 10**12
    return Decimal(round(scaled)).scaleb(-12).quantize(PICO, ROUND_HALF_EVEN)


def split(amount: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Shares at 12 decimals that add up to `amount` exactly, by largest remainder.

    Ties go to the earlier weight, so the same input always gives the same shares. Weights that
    are all zero are the caller's mistake: nobody could be given the amount.
    """
    total = sum(weights)
    if total <= 0:
        raise ValueError("no weight to split by")
    units = int(amount.scaleb(12).to_integral_exact())
    floors = [units * w // total for w in weights]
    remainders = [units * w % total for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in order[: units - sum(floors)]:
        floors[i] += 1
    return [Decimal(f).scaleb(-12) for f in floors]


def spread_over(amount: Decimal, direct: Mapping[K, Decimal]) -> dict[K, Decimal]:
    """Parts of `amount` by what each caused directly, which add up to it exactly.

    Nobody caused anything: nobody has a part.
    """
    keys = sorted(direct)
    weights = [int(direct[key].scaleb(12)) for key in keys]
    if not any(weights):
        return {}
    return dict(zip(keys, split(amount, weights), strict=True))


def allocate_pool(
    pool: GpuPool, cost: Decimal, used: Mapping[Consumer, int], service_ms: int
) -> list[Share]:
    """Split the cost of one pool. `used` is the engine time of the pool's service by consumer,
    `service_ms` the time of the devices of all its pools: a pool stands for its part of both.
    """
    if pool.state != SERVING:
        kind = IDLE if pool.state in (FREE, UNUSED) else OVERHEAD
        return [Share(kind, None, pool.service, pool.gpu_ms, cost)]
    mine = parts_of(pool, used, service_ms)
    idle = max(0, pool.gpu_ms - sum(ms for _, ms in mine))
    weights = [*(ms for _, ms in mine), idle]
    if not sum(weights):
        return [Share(IDLE, None, pool.service, 0, cost)]
    amounts = split(cost, weights)
    shares = [
        Share(TENANT, c, c.model, ms, amount)
        for (c, ms), amount in zip(mine, amounts[:-1], strict=True)
    ]
    if idle:
        shares.append(Share(IDLE, None, pool.service, idle, amounts[-1]))
    return shares


def parts_of(
    pool: GpuPool, used: Mapping[Consumer, int], service_ms: int
) -> list[tuple[Consumer, int]]:
    """The pool's part of the GPU time of each who has some: of a part of a GPU, its fraction."""
    if not service_ms:
        return []
    found = ((c, used[c] * pool.gpu_ms // service_ms) for c in sorted(used))
    return [(c, ms) for c, ms in found if ms > 0]


def serving_ms(pools: Iterable[GpuPool]) -> dict[Source, int]:
    """Time of devices, each part of a GPU counted as engines on it count: as a whole one."""
    found: dict[Source, int] = {}
    for pool in pools:
        if pool.state == SERVING:
            found[pool.source] = found.get(pool.source, 0) + (pool.device_ms or pool.gpu_ms)
    return found
