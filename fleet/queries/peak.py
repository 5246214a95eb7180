"""The busiest five minutes of a service in the last 7 days, in replicas."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.models import Release, Service
from fleet.rules.peak import TOLD, WEEK, Peak, busiest, scaled
from fleet.rules.routing import MAX_NUM_SEQS
from fleet.rules.traffic import DASHBOARD_SECONDS
from fleet.rules.vllm_args import number_of, values_of
from tenants.base.scope import fleet_scope

LOOKED_AT = 8  # of the busiest slots: engines may have been silent in some
# Requests of each slot that were not refused for the asker's own fault; of the busiest recent ones
# also the means of each engine, summed over engines.
SLOTS = """
WITH slots AS (
    SELECT slot, sum(requests)::bigint AS requests FROM traffic_slot
    WHERE seconds = %(seconds)s AND service_id = %(service)s AND slot >= %(week)s
        AND outcome <> 'rejected' GROUP BY slot
), recent AS (
    SELECT slot FROM slots WHERE slot >= %(told)s ORDER BY requests DESC LIMIT %(most)s
), engine AS (
    SELECT slot, avg(running + coalesce(waiting, 0)) AS flying
    FROM recent JOIN engine_sample ON
        service_id = %(service)s AND at >= slot AND at < slot + make_interval(secs => %(seconds)s)
    WHERE running IS NOT NULL GROUP BY slot, pod_uid
)
SELECT slot, requests, (SELECT sum(flying) FROM engine WHERE engine.slot = slots.slot) FROM slots
"""


def peak_of(service: Service, releases: Sequence[Release], now: datetime) -> Peak | None:
    """None: nobody asked anything."""
    values: dict[str, Any] = {
        "seconds": DASHBOARD_SECONDS,
        "service": service.pk,
        "week": now - WEEK,
        "told": now - TOLD,
        "most": LOOKED_AT,
    }
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(SLOTS, values)
        found = cursor.fetchall()
    peak = busiest([(slot, requests) for slot, requests, _ in found])
    if peak is None:
        return None
    told: dict[datetime, float] = {slot: float(n) for slot, _, n in found if n is not None}
    then = busiest([(slot, requests) for slot, requests, _ in found if slot in told])
    flying = scaled(told[then[0]], then, peak) if then else None
    each, by = each_replica(service, releases)
    return Peak(peak[0], peak[1], DASHBOARD_SECONDS, flying, each, by)


def each_replica(service: Service, releases: Sequence[Release]) -> tuple[int, str]:
    """Requests in flight that one takes: what people aim at, else what its engine batches."""
    if hasattr(service, "scaling"):
        return service.scaling.target, "the scaling policy"
    seats = [number_of(values_of(r.arguments), "--max-num-seqs", MAX_NUM_SEQS) for r in releases]
    return int(min(seats, default=MAX_NUM_SEQS)), "--max-num-seqs"
