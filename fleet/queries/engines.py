"""Engines of services: pressure in a window, and the counters that billing is compared with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import Count, F, Max, Min, QuerySet, Sum

from fleet.models import EngineProbe, EngineSample, ShadowSlot
from fleet.rules.degradation.facts import Engines
from fleet.rules.probing import STILL, Beats
from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS
from tenants.base.scope import fleet_scope

NOTHING = (0, 0)
SAMPLED = timedelta(seconds=10)  # two samples of an engine are never further apart
COUNTERS = ("prompt_tokens", "generation_tokens", "cached_tokens")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens that a service's engines counted in a window, without our own probes and copies.

    Both are asked on our own account: nobody is billed for them.
    """

    service_id: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    engines: int
    probe_prompt_tokens: int
    probe_completion_tokens: int
    copy_prompt_tokens: int = 0  # of shadows of rollouts
    copy_completion_tokens: int = 0


def still_engines(pod_uids: Iterable[str], now: datetime) -> dict[str, Beats]:
    """Those that had requests and counted no step, by pod, as far back as is judged."""
    since = now - STILL - SAMPLED
    rows = EngineSample.objects.filter(pod_uid__in=list(pod_uids), at__gt=since, at__lte=now)
    counted = rows.values("pod_uid").annotate(
        since=Min("at"), until=Max("at"), least=Min("running"), samples=Count("id"),
        told=Count("steps"), first=Min("steps"), last=Max("steps"),
    )  # fmt: skip
    still = counted.filter(first=F("last"), least__gt=0, told=F("samples"))
    return {
        row["pod_uid"]: Beats(row["since"], row["until"], row["least"], row["first"], row["last"])
        for row in still
    }


def pressure(service_ids: Iterable[int], start: datetime, end: datetime) -> dict[int, Engines]:
    rows = EngineSample.objects.filter(service__in=list(service_ids), at__gte=start, at__lt=end)
    samples: dict[int, dict[str, list[EngineSample]]] = {}
    for row in rows.order_by("pod_uid", "at"):
        samples.setdefault(row.service_id, {}).setdefault(row.pod_uid, []).append(row)
    return {service_id: _pressure(pods) for service_id, pods in samples.items()}


def _pressure(pods: dict[str, list[EngineSample]]) -> Engines:
    fullest = [s.kv_usage for rows in pods.values() for s in rows if s.kv_usage is not None]
    return Engines(
        engines=len(pods),
        waiting=_sum_of_means(pods, "waiting"),
        running=_sum_of_means(pods, "running"),
        kv_usage=max(fullest) if fullest else None,
        preemptions_per_minute=_preemptions(pods),
    )


def _sum_of_means(pods: dict[str, list[EngineSample]], field: str) -> float | None:
    means = []
    for rows in pods.values():
        values = [v for row in rows if (v := getattr(row, field)) is not None]
        if values:
            means.append(sum(values) / len(values))
    return sum(means) if means else None


def _preemptions(pods: dict[str, list[EngineSample]]) -> float | None:
    found = None
    for rows in pods.values():
        counted = [row for row in rows if row.preemptions is not None]
        if len(counted) < 2:
            continue
        minutes = (counted[-1].at - counted[0].at).total_seconds() / 60
        grown = increase([row.preemptions for row in counted if row.preemptions is not None])
        found = (found or 0.0) + (grown / minutes if minutes else 0.0)
    return found


def increase(counts: list[int]) -> int:
    """How much a counter grew; a fall means that it started anew at 0."""
    grown = 0
    for before, after in zip(counts, counts[1:], strict=False):
        grown += after - before if after >= before else after
    return grown


def token_counters(start: datetime, end: datetime) -> list[TokenCount]:
    """Growth of the engines' own counters in [start, end), by service.

    An engine that was first seen inside the window counts from 0: it began there. Tokens of an
    engine's last seconds before its end, after the last scrape, are not seen by anybody.
    """
    rows = EngineSample.objects.filter(at__gte=start, at__lt=end).order_by("pod_uid", "at")
    read = rows.values_list("service_id", "pod_uid", *COUNTERS).iterator(chunk_size=10_000)
    before = _counted_before(rows.values("pod_uid"), start)
    found: dict[int, list[int]] = {}
    for (service_id, uid), samples in groupby(read, key=itemgetter(0, 1)):
        grown = found.setdefault(service_id, [0, 0, 0, 0])
        counts = [before.get(uid, [0, 0, 0]), *(sample[2:] for sample in samples)]
        for index, values in enumerate(zip(*counts, strict=True)):
            grown[index] += increase([v for v in values if v is not None])
        grown[3] += 1
    probed, copied = _probed(start, end), _copied(start, end)
    return [
        _token_count(service_id, grown, probed.get(service_id, NOTHING), copied)
        for service_id, grown in sorted(found.items())
    ]


def _counted_before(uids: QuerySet[Any, Any], start: datetime) -> dict[str, list[Any]]:
    """The last counters of each engine before a moment."""
    older = EngineSample.objects.filter(pod_uid__in=uids, at__lt=start)
    last = older.order_by("pod_uid", "-at").distinct("pod_uid")
    return {uid: counts for uid, *counts in last.values_list("pod_uid", *COUNTERS)}


def _token_count(
    service_id: int,
    grown: list[int],
    probed: tuple[int, int],
    copies: dict[int, tuple[int, int]],
) -> TokenCount:
    prompt, completion, cached, engines = grown
    copied = copies.get(service_id, NOTHING)
    return TokenCount(
        service_id=service_id,
        prompt_tokens=prompt - probed[0] - copied[0],
        completion_tokens=completion - probed[1] - copied[1],
        cached_tokens=cached,
        engines=engines,
        probe_prompt_tokens=probed[0],
        probe_completion_tokens=probed[1],
        copy_prompt_tokens=copied[0],
        copy_completion_tokens=copied[1],
    )


def _probed(start: datetime, end: datetime) -> dict[int, tuple[int, int]]:
    rows = EngineProbe.objects.filter(at__gte=start, at__lt=end).values_list("service_id")
    summed = rows.annotate(p=Sum("prompt_tokens"), c=Sum("completion_tokens"))
    return {service_id: (prompt, completion) for service_id, prompt, completion in summed}


def _copied(start: datetime, end: datetime) -> dict[int, tuple[int, int]]:
    """By whole slots: the coarse ones of whole hours, the fine ones while they are kept."""
    coarse = not any(at.timestamp() % DASHBOARD_SECONDS for at in (start, end))
    seconds = DASHBOARD_SECONDS if coarse else GATE_SECONDS
    rows = ShadowSlot.objects.filter(seconds=seconds, slot__gte=start, slot__lt=end)
    with fleet_scope():
        summed = rows.values_list("service_id").annotate(
            p=Sum("prompt_tokens"), c=Sum("completion_tokens")
        )
        return {service_id: (prompt, completion) for service_id, prompt, completion in summed}
