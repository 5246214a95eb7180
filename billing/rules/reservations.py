"""GPUs that are kept for a tenant: their idle time is the owner's, not the fleet's. Pure.

Method `reservations-1`: of the GPU time that a tenant has reserved in an hour, what its requests
used of GPUs that the reservation may be of counts as used. The rest is taken from idle time of
these GPUs, of free ones first, and is the tenant's as `reserved idle`; no more than there is. Where
several owners want more than there is, each gets its part. Shares of a pool still add up to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from billing.rules.allocation import (
    FREE,
    IDLE,
    TENANT,
    UNUSED,
    Consumer,
    GpuPool,
    Share,
    split,
)
from billing.rules.years import SAID, is_known

RESERVATION_METHOD = "reservations-1"
RESERVED_IDLE = "reserved idle"  # in place of a service in the owner's shares
NO_APPLICATION = 0
MOST_GPUS = 100_000
LONGEST_PRODUCT, LONGEST_NAME = 120, 63


@dataclass(frozen=True, slots=True, order=True)
class Reservation:
    """`gpus` whole ones of a product. Empty cluster or node pool: any."""

    id: int
    tenant_id: int
    product: str
    cluster: str
    node_pool: str
    gpus: int

    def may_be_of(self, pool: GpuPool) -> bool:
        return (
            pool.product == self.product
            and self.cluster in ("", pool.cluster)
            and self.node_pool in ("", pool.node_pool)
            and pool.state != UNUSED
        )


Cut = tuple[GpuPool, list[Share]]


def charge_owners(
    pools: Sequence[Cut], reservations: Sequence[Reservation], elapsed_ms: int
) -> list[list[Share]]:
    """The shares of each pool, with idle time that is an owner's as the owner's.

    `elapsed_ms`: of the hour so far.
    """
    needs = idle_reserved(pools, reservations, elapsed_ms)
    found = [list(shares) for _, shares in pools]
    for index in sorted(range(len(pools)), key=lambda i: (pools[i][0].state != FREE, i)):
        pool = pools[index][0]
        mine = [r for r in reservations if needs.get(r.id) and r.may_be_of(pool)]
        if mine:
            found[index] = _of_pool(found[index], mine, needs)
    return found


def idle_reserved(
    pools: Sequence[Cut], reservations: Sequence[Reservation], elapsed_ms: int
) -> dict[int, int]:
    """Milliseconds of each reservation that its owner did not use; the narrowest counts first."""
    used: dict[tuple[int, int], int] = {}
    for index, (_, shares) in enumerate(pools):
        for share in shares:
            if share.consumer:
                key = (index, share.consumer.tenant_id)
                used[key] = used.get(key, 0) + share.weight
    needs = {}
    for one in sorted(reservations, key=lambda r: (not r.node_pool, not r.cluster, r.id)):
        left = one.gpus * elapsed_ms
        for index, (pool, _) in enumerate(pools):
            if one.may_be_of(pool):
                taken = min(left, used.get((index, one.tenant_id), 0))
                left -= taken
                if taken:
                    used[index, one.tenant_id] -= taken
        needs[one.id] = left
    return needs


def _of_pool(
    shares: Sequence[Share], owners: Sequence[Reservation], needs: dict[int, int]
) -> list[Share]:
    """Give idle shares to the owners, and take that off what they need."""
    found = []
    for share in shares:
        if share.kind != IDLE or not share.weight:
            found.append(share)
            continue
        taken = apportion(share.weight, [needs[one.id] for one in owners])
        rest = share.weight - sum(taken)
        amounts = split(share.amount, [*taken, rest])
        for one, ms, amount in zip(owners, taken, amounts[:-1], strict=True):
            needs[one.id] -= ms
            if ms:
                consumer = Consumer(one.tenant_id, NO_APPLICATION, RESERVED_IDLE)
                found.append(Share(TENANT, consumer, RESERVED_IDLE, ms, amount))
        if rest:
            found.append(replace(share, weight=rest, amount=amounts[-1]))
    return found


def apportion(total: int, wants: Sequence[int]) -> list[int]:
    """All that is wanted, or if that is more than `total`, parts of it by largest remainder."""
    whole = sum(wants)
    if whole <= total:
        return list(wants)
    parts = [total * want // whole for want in wants]
    order = sorted(range(len(wants)), key=lambda i: (-(total * wants[i] % whole), i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def faults_of_reservation(
    *, product: str, cluster: str, node_pool: str, gpus: int, why: str
) -> dict[str, str]:
    faults = {}
    if not product or len(product) > LONGEST_PRODUCT:
        faults["product"] = f"A product has 1 to {LONGEST_PRODUCT} characters"
    for name, value in (("cluster", cluster), ("node_pool", node_pool)):
        if len(value) > LONGEST_NAME:
            faults[name] = f"At most {LONGEST_NAME} characters"
    if not 1 <= gpus <= MOST_GPUS:
        faults["gpus"] = f"A reservation is of 1 to {MOST_GPUS:,} GPUs"
    if not why.strip():
        faults["why"] = "The owner pays for idle time from then on: say why"
    return faults


def fault_of_hour(moment: datetime, *, not_before: datetime | None = None) -> str:
    if not is_known(moment):
        return SAID
    if moment.minute or moment.second or moment.microsecond:
        return "Reservations begin and end on the full hour, because cost is attributed by the hour"
    if not_before is not None and moment < not_before:
        return f"Not before {not_before:%Y-%m-%d %H:%M} UTC"
    return ""
