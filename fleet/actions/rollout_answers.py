"""What became of requests on the two releases of a rollout, counted as their usage is stored."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from fleet.models import Rollout
from fleet.rules.harm import is_cut
from fleet.rules.traffic import TrafficSample

LATE = timedelta(hours=1)  # usage that comes so long after the end still counts
KEY = "rollout_id, tenant_id, release_id, leaving, outcome, reason, cut"
ADD = f"""
INSERT INTO rollout_answer ({KEY}, requests, last_began, last_ended)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT ({KEY}) DO UPDATE SET
    requests = rollout_answer.requests + EXCLUDED.requests,
    last_began = greatest(rollout_answer.last_began, EXCLUDED.last_began),
    last_ended = greatest(rollout_answer.last_ended, EXCLUDED.last_ended)
"""
READ = (
    "pk", "service_id", "from_release_id", "to_release_id", "started_at", "ended_at",
    "old_left_at", "new_left_at",
)  # fmt: skip


def count_answers(samples: Sequence[TrafficSample], now: datetime) -> None:
    """Add them to rollouts that write to the cluster, or ended lately. In the caller's scope."""
    by_service: dict[int, list[TrafficSample]] = {}
    for sample in samples:
        if sample.release_id:
            by_service.setdefault(sample.service_id, []).append(sample)
    if not by_service:
        return
    lately = Q(ended_at=None) | Q(ended_at__gt=now - LATE)
    moving = Rollout.objects.filter(lately, service__in=list(by_service), started_at__isnull=False)
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for pk, service, old, new, started, ended, old_left, new_left in moving.values_list(*READ):
        left = {old: old_left, new: new_left}
        for sample in _of(by_service[service], left, started, ended):
            since = left[sample.release_id]
            leaving = since is not None and sample.at > since
            _add(sums, (pk, sample.tenant_id, sample.release_id, leaving), sample)
    if sums:
        with connection.cursor() as cursor:
            cursor.executemany(ADD, [(*key, *sums[key]) for key in sorted(sums)])


def _of(
    samples: Sequence[TrafficSample],
    releases: Any,
    started: datetime,
    ended: datetime | None,
) -> Iterable[TrafficSample]:
    """What began before the end may end after it: it was open then."""
    ours = (s for s in samples if s.release_id in releases)
    return (s for s in ours if s.at >= started and (ended is None or s.began <= ended))


def _add(sums: dict[tuple[Any, ...], list[Any]], place: tuple[Any, ...], s: TrafficSample) -> None:
    key = (*place, s.outcome, s.reason, is_cut(s))
    was = sums.setdefault(key, [0, s.began, s.at])
    was[0] += 1
    was[1], was[2] = max(was[1], s.began), max(was[2], s.at)
