"""What gateways say of themselves, as far as one rollout waits for it."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from fleet.models import Deployment, Rollout, RolloutAnswer
from fleet.queries.gateways import WorkerRow, read_gateways
from fleet.rules.gates import arrears
from fleet.rules.state import Applied, Told
from gateway.contract.routing import RoutingSnapshot
from tenants.base.scope import fleet_scope
from tenants.queries.snapshots import newest_routing, routing_readers


def told(r: Rollout, now: datetime, *, version: int) -> Told:
    """`version`: of the snapshot with the present weights, where it is known already."""
    rows = Deployment.objects.filter(service=r.service_id).only("release_id", "weight")
    placed = {row.release_id: row for row in rows}
    found = read_gateways(now)
    old, new = placed.get(r.from_release_id or 0), placed.get(r.to_release_id)
    waiting = [(w.worker, w.spool_events, w.spool_oldest_seconds) for w in found.workers]
    return Told(
        version=version or _holding(r.service.name, [d for d in (old, new) if d]),
        workers=_without_redis(now) if found.trouble else _reported(found.workers),
        trouble=found.trouble,
        arrears=arrears(waiting),
        open_old=None if found.trouble else in_flight(found.workers, old),
        open_new=None if found.trouble else in_flight(found.workers, new),
    )


def _reported(workers: Iterable[WorkerRow]) -> tuple[Applied, ...]:
    return tuple(Applied(w.worker, w.routing_version, w.age_seconds) for w in workers)


def _without_redis(now: datetime) -> tuple[Applied, ...]:
    """Those that ask the console for routing instead."""
    return tuple(Applied(r.worker, r.version, r.age_seconds) for r in routing_readers(now))


def in_flight(workers: Iterable[WorkerRow], row: Deployment | None) -> int:
    """Requests that gateways have open on a release."""
    if row is None:
        return 0
    pools = (w.pools.get(f"d{row.pk}") for w in workers)
    return sum(pool.in_flight for pool in pools if pool)


def _holding(service: str, rows: Iterable[Deployment]) -> int:
    """The newest snapshot's version, if it has these weights; else 0: it is not made yet."""
    newest = newest_routing()
    if newest is None:
        return 0
    offered = msgspec.json.decode(newest.document, type=RoutingSnapshot).services.get(service)
    weights = {pool.deployment_id: pool.weight for pool in offered.pools} if offered else {}
    return newest.version if all(weights.get(d.pk, 0) == d.weight for d in rows) else 0


def last_request(r: Rollout) -> datetime | None:
    """When the last one to the new release began, by what gateways metered."""
    with fleet_scope():
        rows = RolloutAnswer.objects.filter(rollout=r, release_id=r.to_release_id)
        return rows.order_by("-last_began").values_list("last_began", flat=True).first()
