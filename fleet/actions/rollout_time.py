"""What a rollout holds on top of what served before, summed up while it moves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.models import Cluster, Rollout
from fleet.rules.groups import pods_by_product
from fleet.rules.observation import SeenNode, SeenPod
from fleet.rules.phases import FINAL
from fleet.rules.rollout_time import held_by, on_top, seen_hours

ADD = """
INSERT INTO rollout_gpu_time (rollout_id, hour, gpu_product, gpu_ms) VALUES (%s, %s, %s, %s)
ON CONFLICT (rollout_id, hour, gpu_product)
DO UPDATE SET gpu_ms = rollout_gpu_time.gpu_ms + EXCLUDED.gpu_ms
"""
READ = (
    "service__name", "plan__numbers__old_replicas", "from_release__resources",
    "from_release__roles",
)  # fmt: skip


def add_rollout_time(
    cluster: Cluster,
    nodes: Sequence[SeenNode],
    pods: Sequence[SeenPod],
    now: datetime,
) -> None:
    """Of rollouts that write to the cluster and that something served before."""
    observed = seen_hours(cluster.observed_at, now)
    if not observed:
        return
    moving = Rollout.objects.filter(
        cluster=cluster, started_at__isnull=False, from_release__isnull=False
    ).exclude(phase__in=sorted(p.value for p in FINAL))
    rows: list[tuple[Any, ...]] = []
    for pk, service, replicas, resources, roles in moving.values_list("pk", *READ):
        each = pods_by_product(resources, roles)
        before = {product: sum(gpus) * int(replicas or 0) for product, gpus in each.items()}
        for product, gpus in on_top(held_by(service, nodes, pods), before).items():
            rows += [(pk, hour, product[:120], gpus * ms) for hour, ms in observed if ms]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(ADD, sorted(rows))
