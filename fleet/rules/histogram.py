"""Latency histograms in geometric buckets: small, mergeable, 10 % resolution.

Bucket i holds values in milliseconds above 1.1^(i-1) and up to 1.1^i; bucket 0 holds everything
up to 1 ms, the last one everything that is longer than its lower bound.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GROWTH = 1.1
LAST = 170  # about three hours
BOUNDS = tuple(GROWTH**i for i in range(LAST + 1))
BELOW_LAST = BOUNDS[:LAST]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Samples by bucket number."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """Milliseconds at quantile `q` (0 to 1), interpolated in its bucket. None: no samples."""
        total = self.total
        if not total:
            return None
        rank = q * total
        below = 0
        for bucket in sorted(self.counts):
            here = self.counts[bucket]
            if here and below + here >= rank:
                share = max(rank - below, 0.0) / here
                return lower(bucket) + share * (upper(bucket) - lower(bucket))
            below += here
        return upper(max(self.counts))

    def share_above(self, limit_ms: float) -> float | None:
        """Share of samples longer than `limit_ms`. None: no samples."""
        total = self.total
        if not total:
            return None
        above = 0.0
        for bucket, here in self.counts.items():
            low, high = lower(bucket), upper(bucket)
            above += here * min(max((high - limit_ms) / (high - low), 0.0), 1.0)
        return above / total

    def count_above(self, bucket: int) -> int:
        """Samples in buckets behind this one."""
        return sum(n for at, n in self.counts.items() if at > bucket)

    def __add__(self, other: "Histogram") -> "Histogram":
        return merge((self, other))


def bucket_of(value_ms: float) -> int:
    """The bucket of a value in milliseconds; negative ones (clock steps) count as 0."""
    return bisect_left(BELOW_LAST, value_ms)


def upper(bucket: int) -> float:
    return BOUNDS[bucket]


def lower(bucket: int) -> float:
    return BOUNDS[bucket - 1] if bucket else 0.0


def merge(parts: Iterable[Histogram]) -> Histogram:
    counts: dict[int, int] = {}
    for part in parts:
        for bucket, here in part.counts.items():
            counts[bucket] = counts.get(bucket, 0) + here
    return Histogram(counts)


def of_values(values_ms: Iterable[float]) -> Histogram:
    counts: dict[int, int] = {}
    for value in values_ms:
        bucket = bucket_of(value)
        counts[bucket] = counts.get(bucket, 0) + 1
    return Histogram(counts)
