"""The busiest five minutes of a service in the last 7 days, in replicas."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Sum

from fleet.models import Release, Service, TrafficSlot
from fleet.rules.peak import TOLD, WEEK, Peak, Slot, busiest, scaled
from fleet.rules.routing import MAX_NUM_SEQS
from fleet.rules.traffic import DASHBOARD_SECONDS
from fleet.rules.vllm_args import number_of, values_of
from tenants.base.scope import fleet_scope

LOOKED_AT = 8  # of the busiest slots: engines may have been silent in some
# Means of each engine over each slot, summed over engines.
IN_FLIGHT = """
SELECT slot, sum(flying) FROM (
    SELECT slot, avg(running + coalesce(waiting, 0)) AS flying
    FROM unnest(%(slots)s::timestamptz[]) AS slot JOIN engine_sample ON
        service_id = %(service)s AND at >= slot AND at < slot + make_interval(secs => %(seconds)s)
    WHERE running IS NOT NULL GROUP BY slot, pod_uid
) AS engine GROUP BY slot
"""


def peak_of(service: Service, releases: Sequence[Release], now: datetime) -> Peak | None:
    """Of requests that were not refused for the asker's own fault. None: there were none."""
    with fleet_scope():
        rows = TrafficSlot.objects.filter(
            seconds=DASHBOARD_SECONDS, service_id=service.pk, slot__gte=now - WEEK
        ).exclude(outcome="rejected")
        slots: list[Slot] = list(rows.values_list("slot").annotate(n=Sum("requests")))
    peak = busiest(slots)
    if peak is None:
        return None
    recent = sorted((s for s in slots if s[0] >= now - TOLD), key=lambda s: -s[1])[:LOOKED_AT]
    told = in_flight(service.pk, [at for at, _ in recent])
    then = busiest([slot for slot in recent if slot[0] in told])
    flying = scaled(told[then[0]], then, peak) if then else None
    each, by = each_replica(service, releases)
    return Peak(peak[0], peak[1], DASHBOARD_SECONDS, flying, each, by)


def in_flight(service_id: int, slots: Sequence[datetime]) -> dict[datetime, float]:
    """By slot, of those in which engines told it."""
    values: dict[str, Any] = {
        "service": service_id,
        "slots": list(slots),
        "seconds": DASHBOARD_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(IN_FLIGHT, values)
        return {slot: float(flying) for slot, flying in cursor.fetchall()}


def each_replica(service: Service, releases: Sequence[Release]) -> tuple[int, str]:
    """Requests in flight that one takes: what people aim at, else what its engine batches."""
    if hasattr(service, "scaling"):
        return service.scaling.target, "the scaling policy"
    seats = [number_of(values_of(r.arguments), "--max-num-seqs", MAX_NUM_SEQS) for r in releases]
    return int(min(seats, default=MAX_NUM_SEQS)), "--max-num-seqs"
