"""Pressure on a service's engines over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from fleet.queries.slots import ORIGIN
from fleet.rules.steps import Grid

# Means over each step, summed over engines; the fullest cache of any.
PRESSURE = """
WITH engine AS (
    SELECT date_bin(make_interval(secs => %(step)s), at, %(origin)s) AS step, pod_uid,
        avg(waiting) AS waiting, avg(running) AS running, max(kv_usage) AS kv,
        max(preemptions) - min(preemptions) AS preempted
    FROM engine_sample WHERE service_id = %(service)s AND at >= %(start)s AND at < %(end)s
    GROUP BY 1, 2
)
SELECT step, sum(waiting), sum(running), max(kv), sum(greatest(preempted, 0)), count(*)
FROM engine GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class EnginePressure:
    """One value for each moment of the grid; None: the engines said nothing."""

    waiting: Sequence[float | None]
    running: Sequence[float | None]
    kv_usage: Sequence[float | None]  # 0 to 1
    preemptions: Sequence[float | None]  # in the step
    engines: Sequence[int | None]

    @property
    def has_data(self) -> bool:
        return any(n is not None for n in self.engines)


def columns_over(sql: str, service_id: int, over: Grid, count: int) -> list[tuple[Any, ...]]:
    """`sql` answers a moment and `count` values in each row; here one column of each value.

    A column has a value for each moment of the grid; None: there is no row of it.
    """
    values: dict[str, Any] = {
        "step": over.step,
        "origin": ORIGIN,
        "service": service_id,
        "start": over.start,
        "end": over.end,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    nothing: tuple[Any, ...] = (None,) * count
    found = zip(*(rows.get(at, nothing) for at in over.moments), strict=True)
    return list(found) or [()] * count


def engine_pressure(service_id: int, over: Grid) -> EnginePressure:
    waiting, running, kv, preempted, engines = columns_over(PRESSURE, service_id, over, 5)
    return EnginePressure(
        waiting=[_float(v) for v in waiting],
        running=[_float(v) for v in running],
        kv_usage=[_float(v) for v in kv],
        preemptions=[_float(v) for v in preempted],
        engines=list(engines),
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
