"""What the statistics keep of one request, and how samples become rows of slots."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec

from fleet.rules.histogram import Histogram, bucket_of, merge

GATE_SECONDS = 10
DASHBOARD_SECONDS = 300
ANSWERED = frozenset({"served", "rerouted", "degraded"})
REFUSED = ("engine_refused", "pool_full")  # reasons: with a release they are its engines' words
# In milliseconds; waking: what requests waited for a service that slept; output: tokens; gpu: time
# of GPUs for one token of the answer.
MEASURED = ("ttft", "itl", "queue", "waking", "output", "gpu")
METRICS = (*MEASURED, "finish")  # the buckets of finish are numbers of FINISHES
FINISHES = ("stop", "length", "abort", "other")
OTHER = FINISHES.index("other")
NUMBERS = {name: number for number, name in enumerate(FINISHES)} | {
    "error": FINISHES.index("abort")
}
PLACES = 1_000  # more than there are buckets
FIRST_PLACES = tuple(PLACES * place for place in range(len(METRICS)))
OF_FINISH = FIRST_PLACES[-1]


class TrafficSample(msgspec.Struct, frozen=True, gc=False):
    """One request, as gates and degradation need it. Latencies in milliseconds, None: unknown."""

    at: datetime  # when it ended
    tenant_id: int
    service_id: int
    release_id: int  # 0: refused before a release was chosen
    traffic_class: str
    outcome: str
    reason: str = ""  # why it did not end as served
    ttft_ms: float | None = None
    itl_ms: float | None = None
    queue_ms: float | None = None
    waking_ms: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    adapter: str = ""  # that it asked for; empty: the service's own model
    took_ms: float = 0.0  # from its beginning to its end
    application_id: int = 0
    gpu_ms: int = 0  # in the engine, of all its GPUs together
    finish: str = ""  # finish reason, as the engine calls it; empty: it gave none

    @property
    def began(self) -> datetime:
        return self.at - timedelta(milliseconds=self.took_ms)

    @property
    def measured(self) -> tuple[float | None, ...]:
        """A value for each of MEASURED. Only whole answers say how long they are, at what cost."""
        times = self.ttft_ms, self.itl_ms, self.queue_ms, self.waking_ms
        if self.outcome not in ANSWERED:
            return *times, None, None
        tokens = self.completion_tokens
        gpu = self.gpu_ms / tokens if tokens and self.gpu_ms else None
        return *times, float(tokens), gpu

    @property
    def finished(self) -> int | None:
        """A number of FINISHES."""
        return NUMBERS.get(self.finish, OTHER) if self.finish else None


@dataclass(frozen=True, slots=True)
class ReleaseWindow:
    """What one release of a service answered in a window of time: the input of a gate."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    ttft: Histogram = Histogram()
    itl: Histogram = Histogram()
    queue: Histogram = Histogram()
    waking: Histogram = Histogram()
    output: Histogram = Histogram()
    gpu: Histogram = Histogram()
    finish: Histogram = Histogram()
    refused: int = 0  # by the engine: what it was asked for did not suit it
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    def ended_by(self, finish: str) -> int:
        """Requests whose engine gave this finish reason."""
        return self.finish.counts.get(FINISHES.index(finish), 0)

    @property
    def answered(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome in ANSWERED)


def summed(parts: Iterable[ReleaseWindow]) -> ReleaseWindow:
    """Several windows as one."""
    found = list(parts)
    outcomes: dict[str, int] = {}
    for part in found:
        for outcome, n in part.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + n
    return ReleaseWindow(
        outcomes=outcomes,
        ttft=merge(p.ttft for p in found),
        itl=merge(p.itl for p in found),
        queue=merge(p.queue for p in found),
        waking=merge(p.waking for p in found),
        output=merge(p.output for p in found),
        gpu=merge(p.gpu for p in found),
        finish=merge(p.finish for p in found),
        refused=sum(p.refused for p in found),
        prompt_tokens=sum(p.prompt_tokens for p in found),
        cached_tokens=sum(p.cached_tokens for p in found),
        completion_tokens=sum(p.completion_tokens for p in found),
    )


# seconds, slot (seconds since the epoch), tenant, service, release, class; then outcome and reason,
# or metric and bucket
Place = tuple[int, int, int, int, int, str]
CountKey = tuple[int, int, int, int, int, str, str, str]
LatencyKey = tuple[int, int, int, int, int, str, str, int]
Counts = tuple[int, int, int, int]  # requests, prompt, cached, completion tokens


def slot_of(at: datetime, seconds: int) -> datetime:
    """The beginning of the slot of `seconds` that `at` lies in."""
    return datetime.fromtimestamp(math.floor(at.timestamp() / seconds) * seconds, UTC)


def gather(
    samples: Iterable[TrafficSample], *, fine_after: datetime
) -> tuple[dict[CountKey, Counts], dict[LatencyKey, int]]:
    """Sum samples into slots of both resolutions; the fine one only for what gates still read.

    Every sample is counted once, in the finest slot that it has; coarse ones add fine ones up.
    """
    slots: dict[Place, _Sums] = {}
    fine_from = fine_after.timestamp()
    for sample in samples:
        at = sample.at.timestamp()
        seconds = GATE_SECONDS if at >= fine_from else DASHBOARD_SECONDS
        slot = (
            seconds,
            int(at // seconds) * seconds,
            sample.tenant_id,
            sample.service_id,
            sample.release_id,
            sample.traffic_class,
        )
        sums = slots.get(slot)
        if sums is None:
            sums = slots[slot] = _Sums()
        sums.add(sample)
    counts: dict[CountKey, Counts] = {}
    latencies: dict[LatencyKey, int] = {}
    for (seconds, start, *of), sums in slots.items():
        for coarse in {seconds, DASHBOARD_SECONDS}:
            place = cast(Place, (coarse, start // coarse * coarse, *of))
            _put(place, sums, counts, latencies)
    return counts, latencies


class _Sums:
    """Of one slot, by outcome and reason, and by metric and bucket."""

    __slots__ = ("counts", "latencies")

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], list[int]] = {}
        self.latencies: dict[int, int] = {}  # by the place of the metric x PLACES + bucket

    def add(self, sample: TrafficSample) -> None:
        name = sample.outcome, sample.reason
        was = self.counts.get(name)
        if was is None:
            was = self.counts[name] = [0, 0, 0, 0]
        was[0] += 1
        was[1] += sample.prompt_tokens
        was[2] += sample.cached_tokens
        was[3] += sample.completion_tokens
        latencies = self.latencies
        for first, value in zip(FIRST_PLACES, sample.measured, strict=False):
            if value is not None:
                at = first + bucket_of(value)
                latencies[at] = latencies.get(at, 0) + 1
        if (finished := sample.finished) is not None:
            at = OF_FINISH + finished
            latencies[at] = latencies.get(at, 0) + 1


def _put(
    place: Place, sums: _Sums, counts: dict[CountKey, Counts], latencies: dict[LatencyKey, int]
) -> None:
    for name, found in sums.counts.items():
        was = counts.get((*place, *name), (0, 0, 0, 0))
        counts[*place, *name] = (
            was[0] + found[0],
            was[1] + found[1],
            was[2] + found[2],
            was[3] + found[3],
        )
    for at, n in sums.latencies.items():
        key = *place, METRICS[at // PLACES], at % PLACES
        latencies[key] = latencies.get(key, 0) + n
