"""Intervals of GPUs: what goes on is left alone, what changed ends and something else begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection

from fleet.models import Cluster, GpuInterval, GpuUnit, Service
from fleet.rules.gpu_time import Doing, Since, Unit, digest_of, doings, since
from fleet.rules.observation import SeenNode, SeenPod
from tenants.base.writing import write_rows

LONGEST_PRODUCT, LONGEST_POOL = 120, 63  # of the columns
OPEN = (
    "id", "starts_at", "product", "parts", "whole", "node_pool", "capacity", "state", "service_id",
    "holder", "unit_id", "unit__node", "unit__profile", "unit__slot",
)  # fmt: skip
VALUES = slice(2, 10)  # of them: what a doing says
Row = tuple[object, ...]
MOST = 20_000  # deleted in one transaction
# As the index of the table has it; what goes on is before nothing.
FORGET = """
DELETE FROM gpu_interval WHERE id IN (
    SELECT id FROM gpu_interval
    WHERE tstzrange(starts_at, ends_at) << tstzrange(%s, NULL) LIMIT %s
)
"""


def store_gpus(
    cluster: Cluster, nodes: Sequence[SeenNode], pods: Sequence[SeenPod], now: datetime
) -> dict[str, object]:
    """Answers what the cluster's row says of its GPUs then. The caller holds that row.

    A look like the one before writes nothing, and reads nothing: a fleet has thousands of units.
    """
    seen_at = cluster.gpus_seen_at
    start = since(cluster.observed_at, seen_at, now)
    if start is None:
        return {}
    digest = digest_of(nodes, pods)
    if not start.goes_on or digest != cluster.gpus_seen:
        _store(cluster, nodes, pods, start)
    return {"gpus_seen_at": now, "gpus_seen": digest}


def _store(
    cluster: Cluster, nodes: Sequence[SeenNode], pods: Sequence[SeenPod], start: Since
) -> None:
    rows = GpuInterval.objects.filter(unit__cluster=cluster, ends_at=None)
    known = {(n, p, s): (row, unit) for *row, unit, n, p, s in rows.values_list(*OPEN)}
    held = {unit: str(row[-1]) for unit, (row, _) in known.items()}
    wanted = _values(doings(nodes, pods, held))
    same = {u for u, v in wanted.items() if u in known and tuple(known[u][0][VALUES]) == v}
    if not start.goes_on:
        same = set()
    ended = [row for unit, (row, _) in known.items() if unit not in same]
    _end(ended, start.at if start.goes_on else cluster.gpus_seen_at)
    units = {unit: pk for unit, (_, pk) in known.items()}
    _begin(cluster, {u: v for u, v in wanted.items() if u not in same}, units, start.at)


def _values(found: Mapping[Unit, Doing]) -> dict[Unit, Row]:
    names = {d.service for d in found.values() if d.service}
    services = dict(Service.objects.filter(name__in=names).values_list("name", "id"))
    return {
        unit: (
            d.product[:LONGEST_PRODUCT],
            d.fraction.numerator,
            d.fraction.denominator,
            d.node_pool[:LONGEST_POOL],
            d.capacity,
            d.state,
            services.get(d.service),
            d.holder,
        )
        for unit, d in found.items()
    }


def _end(rows: Sequence[Sequence[object]], at: datetime | None) -> None:
    """Those that had no time yet were never there."""
    if not rows:
        return
    found = GpuInterval.objects.filter(pk__in=[row[0] for row in rows])
    found.filter(starts_at__gte=at).delete()
    found.update(ends_at=at)


def _begin(
    cluster: Cluster, wanted: Mapping[Unit, Row], units: Mapping[Unit, int], at: datetime
) -> None:
    if not wanted:
        return
    known = dict(units)
    if missing := wanted.keys() - known.keys():
        known |= _units(cluster, missing)
    rows = [(known[unit], at, *values) for unit, values in wanted.items()]
    write_rows(GpuInterval, ("unit", "starts_at", *OPEN[VALUES]), rows)


def forget_intervals(before: datetime) -> int:
    """Delete some of those that ended before; answers how many. In the fleet's scope."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [before, MOST])
        deleted: int = cursor.rowcount
        return deleted


def _units(cluster: Cluster, missing: set[Unit]) -> dict[Unit, int]:
    one = ("cluster", "node", "profile", "slot")
    write_rows(GpuUnit, one, [(cluster.pk, *unit) for unit in sorted(missing)], once=one)
    found = GpuUnit.objects.filter(cluster=cluster, node__in={node for node, _, _ in missing})
    return {(n, p, s): pk for pk, n, p, s in found.values_list("pk", "node", "profile", "slot")}
