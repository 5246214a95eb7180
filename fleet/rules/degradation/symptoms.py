"""What counts as a miss: a symptom with the number of requests that it touches."""

from dataclasses import dataclass
from enum import StrEnum

from fleet.rules.degradation.facts import Facts, Traffic
from fleet.rules.histogram import Histogram

FEWEST = 5  # requests touched; less is noise
FEWEST_TIMED = 20  # samples of a percentile
QUANTILE = 0.95


class Symptom(StrEnum):
    ERRORS = "errors"  # failed, timed out
    SHED = "shed"
    REJECTED = "rejected"
    TTFT = "ttft"
    ITL = "itl"
    CANCELLED = "cancelled"


# share of requests above which it is a symptom
LIMITS = {
    Symptom.ERRORS: 0.02,
    Symptom.SHED: 0.01,
    Symptom.REJECTED: 0.05,
    Symptom.CANCELLED: 0.25,
}
OUTCOMES = {
    Symptom.ERRORS: ("failed", "timed_out"),
    Symptom.SHED: ("shed",),
    Symptom.REJECTED: ("rejected",),
    Symptom.CANCELLED: ("cancelled",),
}


# Ended while they ran, because a key was revoked or a tenant suspended: no client left.
WITHDRAWN = {("cancelled", "auth"), ("cancelled", "suspended")}


@dataclass(frozen=True, slots=True)
class Miss:
    """`affected` of `requests`; `measured` and `limit` in milliseconds for latencies."""

    symptom: Symptom
    requests: int
    affected: int
    measured: float | None = None
    limit: float | None = None

    @property
    def share(self) -> float:
        return self.affected / self.requests if self.requests else 0.0


def find_misses(facts: Facts) -> tuple[Miss, ...]:
    found = [_counted(facts.now, symptom) for symptom in LIMITS]
    found.append(_timed(facts.now.ttft, facts.objective.ttft_ms, Symptom.TTFT))
    found.append(_timed(facts.now.itl, facts.objective.itl_ms, Symptom.ITL))
    return tuple(miss for miss in found if miss is not None)


def _counted(traffic: Traffic, symptom: Symptom) -> Miss | None:
    affected = traffic.count(*OUTCOMES[symptom])
    if symptom is Symptom.CANCELLED:
        affected -= sum(n for how, n in traffic.reasons.items() if how in WITHDRAWN)
    miss = Miss(symptom, traffic.requests, affected)
    return miss if affected >= FEWEST and miss.share > LIMITS[symptom] else None


def _timed(histogram: Histogram, limit: int, symptom: Symptom) -> Miss | None:
    measured = histogram.quantile(QUANTILE)
    if measured is None or histogram.total < FEWEST_TIMED or measured <= limit:
        return None
    late = round((histogram.share_above(limit) or 0.0) * histogram.total)
    return Miss(symptom, histogram.total, late, measured, float(limit))
