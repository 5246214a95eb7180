"""What the GPUs of the fleet did, hour by hour: where cost attribution starts from."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

HOUR = timedelta(hours=1)
# Intervals without an end go on until their cluster's GPUs were seen last. Time counts in
# GPU-milliseconds: that of a part of a GPU by its fraction.
MS = """extract(epoch FROM least(coalesce(i.ends_at, c.gpus_seen_at), %(end)s)
            - greatest(i.starts_at, %(start)s)) * 1000"""
HOURS = """
WITH seen AS (
    SELECT u.cluster_id, i.product, i.state, i.service_id, i.node_pool, i.capacity, u.profile,
        round(sum({ms} * i.parts / i.whole))::bigint AS ms, round(sum({ms}))::bigint AS devices
    FROM gpu_interval i JOIN gpu_unit u ON u.id = i.unit_id JOIN cluster c ON c.id = u.cluster_id
    WHERE tstzrange(i.starts_at, i.ends_at) && tstzrange(%(start)s, %(end)s)
        AND coalesce(i.ends_at, c.gpus_seen_at) > greatest(i.starts_at, %(start)s)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    UNION ALL
    SELECT cluster_id, gpu_product, state, service_id, '', '', '', gpu_ms, gpu_ms FROM gpu_time
    WHERE hour = %(start)s
)
SELECT s.cluster_id, c.slug, s.product, s.state, s.service_id, coalesce(v.name, ''),
    sum(s.ms)::bigint, s.node_pool, s.capacity, s.profile, c.hosted, sum(s.devices)::bigint
FROM seen s JOIN cluster c ON c.id = s.cluster_id LEFT JOIN service v ON v.id = s.service_id
GROUP BY 1, 2, 3, 4, 5, 6, 8, 9, 10, 11
ORDER BY 1, 3, 4, 5, 8, 9, 10
""".replace("{ms}", MS)
OBSERVED = """
SELECT h FROM generate_series(date_trunc('hour', %(start)s, 'UTC'), %(end)s, '1 hour') AS h
WHERE h >= %(start)s AND h < %(end)s AND (
    EXISTS (SELECT 1 FROM gpu_time t WHERE t.hour = h)
    OR EXISTS (SELECT 1 FROM gpu_interval i
        JOIN gpu_unit u ON u.id = i.unit_id JOIN cluster c ON c.id = u.cluster_id
        WHERE tstzrange(i.starts_at, i.ends_at) && tstzrange(h, h + interval '1 hour')
            AND coalesce(i.ends_at, c.gpus_seen_at) > greatest(i.starts_at, h))
) ORDER BY h
"""


@dataclass(frozen=True, slots=True)
class GpuHour:
    """GPU-milliseconds of one hour in one state. Those of an hour add up to GPUs x seen time."""

    cluster_id: int
    cluster: str
    product: str
    state: str  # GpuTime.State
    service_id: int | None
    service: str
    gpu_ms: int
    node_pool: str = ""
    capacity: str = ""  # rules.node_capacity; empty: counted before nodes told it
    profile: str = ""  # of a part of a GPU; empty: a whole one
    hosted: bool = False  # in a cluster that others run
    device_ms: int = 0  # the same with each part of a GPU as a whole one


def gpu_hours(hour: datetime) -> list[GpuHour]:
    with connection.cursor() as cursor:
        cursor.execute(HOURS, {"start": hour, "end": hour + HOUR})
        return [GpuHour(*row) for row in cursor.fetchall()]


def observed_hours(start: datetime, end: datetime) -> list[datetime]:
    """Hours in [start, end) of which at least one cluster was observed."""
    with connection.cursor() as cursor:
        cursor.execute(OBSERVED, {"start": start, "end": end})
        return [row[0] for row in cursor.fetchall()]
