"""Which placement of a model answers: a name may be served in several clusters and regions.

Home comes first, then the placements in their stated order; those in the gateway's own region
before both. Only what the tenant's data policy leaves is ever looked at. A placement counts as
ready while an endpoint of it can be reached and has room: so a full one and a lost one give their
requests to the next, and get them back by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway import errors
from gateway.contract.outcomes import Reason
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Service
from gateway.errors import Refusal
from gateway.pools import Pools, Wish
from gateway.snapshots import Routing


def placed(routing: Routing, service: Service) -> list[Service]:
    """The service and all others that answer for its name."""
    known = routing.document.services
    return [service, *(known[name] for name in service.placements if name in known)]


def permitted(
    routing: Routing,
    service: Service,
    data_policy: DataPolicy,
    region: str = "",
    adapter: str = "",
) -> list[Service]:
    """Those with pools that may see this tenant's data, in order of preference."""
    allowed = routing.candidates
    found = [s for s in placed(routing, service) if allowed(s, data_policy, adapter)]
    if not region:
        return found
    return sorted(found, key=lambda s: all(pool.region != region for pool in s.pools))


def refuse_policy(
    routing: Routing, service: Service, data_policy: DataPolicy, adapter: str = ""
) -> Refusal | None:
    """None: at least one placement may see the data, or nothing runs at all."""
    services = placed(routing, service)
    if not any(s.pools for s in services):
        return None
    if permitted(routing, service, data_policy, adapter=adapter):
        return None
    message = f"No pool of {adapter or service.name!r} satisfies your data policy."
    return errors.forbidden(message, Reason.POLICY)


def choose(pools: Pools, services: Sequence[Service], wish: Wish, now: float) -> Service:
    """The first that is ready; else the first that answers at all; else the preferred one."""
    for service in services:
        if pools.is_ready(replace(wish, service=service), now):
            return service
    for service in services:
        if pools.has_endpoint(replace(wish, service=service)):
            return service
    return services[0] if services else wish.service


def refuse_outside(
    routing: Routing,
    service: Service,
    data_policy: DataPolicy,
    refusal: Refusal,
    adapter: str = "",
) -> Refusal:
    """Say it, when engines answer that the data may not go to: more of them would not help."""
    if refusal.reason is not Reason.NO_ENDPOINT:
        return refusal
    allowed = routing.candidates
    for other in placed(routing, service):
        having = [pool for pool in other.pools if not adapter or adapter in pool.adapters]
        outside = [pool for pool in having if pool not in allowed(other, data_policy, adapter)]
        if any(pool.weight > 0 and pool.endpoints for pool in outside):
            where = ", ".join(data_policy.residency) or "the places that your data policy allows"
            message = (
                f"No engine answers for {adapter or service.name!r} in {where} at the moment."
                " Engines elsewhere do, and your data policy keeps your requests from them."
            )
            return errors.shed(message, Reason.OUTSIDE_POLICY)
    return refusal
