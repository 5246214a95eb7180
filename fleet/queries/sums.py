"""Slots of all tenants, summed by who and where. For jobs, in the fleet's scope."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db.models import F, Sum

from fleet.models import LatencySlot, TrafficSlot
from fleet.rules.degradation.facts import Traffic
from fleet.rules.histogram import Histogram
from fleet.rules.traffic import METRICS

K = TypeVar("K")
Part = tuple[int, int, str, int]  # tenant, service, class, release


@dataclass
class Sums:
    outcomes: dict[str, int] = field(default_factory=dict)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    histograms: dict[str, dict[int, int]] = field(default_factory=lambda: {m: {} for m in METRICS})
    tokens: int = 0

    def add(self, other: "Sums") -> None:
        add_counts(self.outcomes, other.outcomes)
        add_counts(self.reasons, other.reasons)
        self.tokens += other.tokens
        for metric, buckets in other.histograms.items():
            add_counts(self.histograms.setdefault(metric, {}), buckets)

    def traffic(self, seconds: float) -> Traffic:
        return Traffic(
            seconds=seconds,
            outcomes=self.outcomes,
            reasons=self.reasons,
            ttft=Histogram(self.histograms["ttft"]),
            itl=Histogram(self.histograms["itl"]),
            queue=Histogram(self.histograms["queue"]),
            waking=Histogram(self.histograms["waking"]),
            tokens=self.tokens,
        )


def add_counts(into: dict[K, int], more: Mapping[K, int]) -> None:
    for key, n in more.items():
        into[key] = into.get(key, 0) + n


def total(parts: Iterable[Sums]) -> Sums:
    found = Sums()
    for part in parts:
        found.add(part)
    return found


def load(
    resolution: int, start: datetime, end: datetime, service_ids: Iterable[int] | None = None
) -> dict[Part, Sums]:
    """Slots that begin in [start, end), of these services or of all."""
    where: dict[str, object] = {"seconds": resolution, "slot__gte": start, "slot__lt": end}
    if service_ids is not None:
        where["service_id__in"] = list(service_ids)
    found: dict[Part, Sums] = {}
    part = ("tenant_id", "service_id", "traffic_class", "release_id")
    counted = TrafficSlot.objects.filter(**where).values_list(*part, "outcome", "reason")
    used = F("prompt_tokens") + F("completion_tokens")
    for *at, outcome, reason, n, tokens in counted.annotate(n=Sum("requests"), t=Sum(used)):
        sums = found.setdefault((at[0], at[1], at[2], at[3]), Sums())
        add_counts(sums.outcomes, {outcome: n})
        add_counts(sums.reasons, {(outcome, reason): n})
        sums.tokens += tokens
    timed = LatencySlot.objects.filter(**where).values_list(*part, "metric", "bucket")
    for *at, metric, bucket, n in timed.annotate(n=Sum("samples")):
        sums = found.setdefault((at[0], at[1], at[2], at[3]), Sums())
        sums.histograms.setdefault(metric, {})[bucket] = n
    return found
