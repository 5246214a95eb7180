"""Slots drawn as series: counts and percentiles by step, computed where the rows are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.rules.histogram import lower, upper
from fleet.rules.steps import Grid

ORIGIN = "2000-01-01T00:00:00+00"

COUNTS = """
SELECT date_bin(make_interval(secs => %(step)s), slot, %(origin)s) AS at, outcome, sum(requests)
FROM traffic_slot WHERE {where} GROUP BY 1, 2
"""
REASONS = """
SELECT outcome, reason, sum(requests) FROM traffic_slot
WHERE {where} AND reason <> '' GROUP BY 1, 2 ORDER BY 3 DESC
"""
# Per group and metric: the bucket that holds each quantile, and where in it the quantile lies.
QUANTILES = """
WITH h AS (
    SELECT {group} AS place, metric, bucket, sum(samples) AS n
    FROM latency_slot WHERE {where} AND metric IN ('ttft', 'itl', 'queue', 'waking')
    GROUP BY 1, 2, 3
), c AS (
    SELECT place, metric, bucket, n,
        sum(n) OVER (PARTITION BY place, metric ORDER BY bucket) AS upto,
        sum(n) OVER (PARTITION BY place, metric) AS total
    FROM h
)
SELECT place, metric, q, bucket, n::float8, upto::float8, total::float8
FROM c CROSS JOIN unnest(ARRAY[0.5, 0.95]::float8[]) AS q
WHERE upto >= q * total AND upto - n < q * total
"""
PARTS = """
SELECT service_id, traffic_class, outcome, sum(requests) FROM traffic_slot
WHERE {where} GROUP BY 1, 2, 3
"""
TENANTS = """
SELECT tenant_id, outcome, sum(requests) FROM traffic_slot WHERE {where} GROUP BY 1, 2
"""
BY_TIME = "date_bin(make_interval(secs => %(step)s), slot, %(origin)s)"
BY_PART = "service_id::text || ' ' || traffic_class"


@dataclass(frozen=True, slots=True)
class Place:
    """Which slots: of a tenant (None: all that the scope shows), a service, a class.

    `tenant_ids` are those of several tenants: for pages of a list.
    """

    grid: Grid
    tenant_id: int | None = None
    service_id: int | None = None
    traffic_class: str = ""
    tenant_ids: tuple[int, ...] | None = None

    @property
    def where(self) -> str:
        parts = ["seconds = %(resolution)s", "slot >= %(start)s", "slot < %(end)s"]
        if self.tenant_id is not None:
            parts.append("tenant_id = %(tenant_id)s")
        if self.tenant_ids is not None:
            parts.append("tenant_id = ANY(%(tenant_ids)s)")
        if self.service_id is not None:
            parts.append("service_id = %(service_id)s")
        if self.traffic_class:
            parts.append("traffic_class = %(traffic_class)s")
        return " AND ".join(parts)

    @property
    def values(self) -> dict[str, Any]:
        return {
            "resolution": self.grid.resolution,
            "step": self.grid.step,
            "start": self.grid.start,
            "end": self.grid.end,
            "origin": ORIGIN,
            "tenant_id": self.tenant_id,
            "tenant_ids": list(self.tenant_ids or ()),
            "service_id": self.service_id,
            "traffic_class": self.traffic_class,
        }


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds. None: no samples."""

    p50: float | None = None
    p95: float | None = None
    samples: int = 0


NONE = Percentiles()


def outcomes_by_time(place: Place) -> dict[str, list[int]]:
    """Requests by outcome, one number for each moment of the grid."""
    index = {at: i for i, at in enumerate(place.grid.moments)}
    found: dict[str, list[int]] = {}
    for at, outcome, requests in run(COUNTS.format(where=place.where), place):
        if at in index:
            found.setdefault(outcome, [0] * len(index))[index[at]] = int(requests)
    return found


def reasons(place: Place) -> list[tuple[str, str, int]]:
    rows = run(REASONS.format(where=place.where), place)
    return [(outcome, reason, int(n)) for outcome, reason, n in rows]


def percentiles_by_time(place: Place) -> dict[tuple[datetime, str], Percentiles]:
    """By moment and metric (ttft, itl, queue)."""
    return _percentiles(QUANTILES.format(group=BY_TIME, where=place.where), place)


def percentiles_by_part(place: Place) -> dict[tuple[tuple[int, str], str], Percentiles]:
    """By service and class, and metric."""
    found = _percentiles(QUANTILES.format(group=BY_PART, where=place.where), place)
    return {
        ((int(part.partition(" ")[0]), part.partition(" ")[2]), metric): value
        for (part, metric), value in found.items()
    }


def outcomes_by_part(place: Place) -> dict[tuple[int, str], dict[str, int]]:
    found: dict[tuple[int, str], dict[str, int]] = {}
    for service_id, traffic_class, outcome, n in run(PARTS.format(where=place.where), place):
        found.setdefault((service_id, traffic_class), {})[outcome] = int(n)
    return found


def outcomes_by_tenant(place: Place) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for tenant_id, outcome, n in run(TENANTS.format(where=place.where), place):
        found.setdefault(tenant_id, {})[outcome] = int(n)
    return found


def _percentiles(query: str, place: Place) -> dict[tuple[Any, str], Percentiles]:
    picked: dict[tuple[Any, str], dict[float, tuple[float, int]]] = {}
    for at, metric, q, bucket, n, upto, total in run(query, place):
        low, high = lower(bucket), upper(bucket)
        value = low + (q * total - (upto - n)) / n * (high - low)
        picked.setdefault((at, metric), {})[q] = (value, int(total))
    return {
        key: Percentiles(found[0.5][0], found[0.95][0], found[0.5][1])
        for key, found in picked.items()
    }


def run(query: str, place: Place) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, place.values)
        return list(cursor.fetchall())
