"""The busiest five minutes of a service in the last 7 days, in replicas."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum

from fleet.models import Release, Service, TrafficSlot
from fleet.rules.peak import TOLD, WEEK, Peak, Slot, busiest, scaled
from fleet.rules.routing import MAX_NUM_SEQS
from fleet.rules.traffic import DASHBOARD_SECONDS
from fleet.rules.vllm_args import number_of, values_of
from tenants.base.scope import fleet_scope

# Means of each engine over the slot, summed over engines.
IN_FLIGHT = """
SELECT sum(flying) FROM (
    SELECT avg(running + coalesce(waiting, 0)) AS flying FROM engine_sample
    WHERE service_id = %(service)s AND at >= %(start)s AND at < %(end)s AND running IS NOT NULL
    GROUP BY pod_uid
) AS engine
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
    then = busiest([slot for slot in slots if slot[0] >= now - TOLD])
    flying = scaled(in_flight(service.pk, then[0]) if then else None, then, peak)
    each, by = each_replica(service, releases)
    return Peak(peak[0], peak[1], DASHBOARD_SECONDS, flying, each, by)


def in_flight(service_id: int, start: datetime) -> float | None:
    end = start + timedelta(seconds=DASHBOARD_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(IN_FLIGHT, {"service": service_id, "start": start, "end": end})
        found = cursor.fetchone()[0]
    return None if found is None else float(found)


def each_replica(service: Service, releases: Sequence[Release]) -> tuple[int, str]:
    """Requests in flight that one takes: what people aim at, else what its engine batches."""
    if hasattr(service, "scaling"):
        return service.scaling.target, "the scaling policy"
    seats = [number_of(values_of(r.arguments), "--max-num-seqs", MAX_NUM_SEQS) for r in releases]
    return int(min(seats, default=MAX_NUM_SEQS)), "--max-num-seqs"
