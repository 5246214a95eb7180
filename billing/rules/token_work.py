"""Method `token-work-1`: the serving time of GPUs shared by the token work of each tenant.

Work = prompt tokens that were not cached x prefill weight + completion tokens x decode weight, in
nanoseconds of engine time. The weights of a release are fitted to requests that it answered, so
work of several releases of a service compares. Where a release has none, its engine time counts.
How long GPUs worked stays as engine time says; what nobody used is idle.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from operator import add, sub

from billing.rules.allocation import (
    IDLE,
    SERVING,
    TENANT,
    Consumer,
    GpuPool,
    Share,
    allocate_pool,
    parts_of,
    split,
)

LEAST_SAMPLES = 200
LEAST_FIT = Decimal("0.5")
NS_PER_MS = 1_000_000
PICO = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """One answered request. `fresh`: prompt tokens that were not cached."""

    request_id: str
    fresh: int
    completion: int
    engine_ms: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Nanoseconds of engine time a token; `number` is the release's version of them."""

    prefill_ns: int
    decode_ns: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    prefill_ns: int
    decode_ns: int
    fit: Decimal  # 1 - squares left / squares about the mean, 4 decimals; 0 at least
    samples: int
    sha: str
    why: str  # empty: usable

    @property
    def usable(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Use:
    """What one consumer had of a service in one hour."""

    engine_ms: int
    fresh: int = 0
    cached: int = 0
    completion: int = 0

    def part(self, engine_ms: int) -> "Use":
        """So much of the time, and the same part of the tokens, rounded down."""
        counts = (self.fresh, self.cached, self.completion)
        if not self.engine_ms:
            return Use(0)
        return Use(engine_ms, *(n * engine_ms // self.engine_ms for n in counts))

    def more(self, other: "Use") -> "Use":
        return Use(*map(add, astuple(self), astuple(other)))

    def less(self, other: "Use") -> "Use":
        return Use(*map(sub, astuple(self), astuple(other)))


def calibrate(samples: Iterable[Sample]) -> Calibration:
    """Least squares through the origin, neither weight below zero; exact, in any order."""
    ordered = sorted(set(samples))
    lines = (f"{s.request_id} {s.fresh} {s.completion} {s.engine_ms}" for s in ordered)
    sha = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    prefill, decode = _fit(ordered)
    fit = _explained(ordered, prefill, decode)
    why = _unusable(len(ordered), fit, prefill + decode)
    return Calibration(
        prefill_ns=round(prefill * NS_PER_MS),
        decode_ns=round(decode * NS_PER_MS),
        fit=fit,
        samples=len(ordered),
        sha=sha,
        why=why,
    )


def _fit(samples: Sequence[Sample]) -> tuple[Fraction, Fraction]:
    """Milliseconds a token. Of two weights, the best is inside, or on one of the two edges."""
    pp = sum(s.fresh * s.fresh for s in samples)
    dd = sum(s.completion * s.completion for s in samples)
    pd = sum(s.fresh * s.completion for s in samples)
    py = sum(s.fresh * s.engine_ms for s in samples)
    dy = sum(s.completion * s.engine_ms for s in samples)
    if whole := pp * dd - pd * pd:
        both = Fraction(py * dd - dy * pd, whole), Fraction(dy * pp - py * pd, whole)
        if min(both) >= 0:
            return both
    edges = [
        (Fraction(py, pp) if pp else Fraction(0), Fraction(0)),
        (Fraction(0), Fraction(dy, dd) if dd else Fraction(0)),
    ]
    return min(edges, key=lambda edge: _left(samples, *edge))


def _left(samples: Sequence[Sample], prefill: Fraction, decode: Fraction) -> Fraction:
    """The sum of squares that the weights do not explain, from sums of whole numbers."""
    yy = sum(s.engine_ms * s.engine_ms for s in samples)
    py = sum(s.fresh * s.engine_ms for s in samples)
    dy = sum(s.completion * s.engine_ms for s in samples)
    pp = sum(s.fresh * s.fresh for s in samples)
    dd = sum(s.completion * s.completion for s in samples)
    pd = sum(s.fresh * s.completion for s in samples)
    squares = prefill * prefill * pp + decode * decode * dd + 2 * prefill * decode * pd
    return yy - 2 * (prefill * py + decode * dy) + squares


def _explained(samples: Sequence[Sample], prefill: Fraction, decode: Fraction) -> Decimal:
    if not samples:
        return Decimal(0)
    whole = sum(s.engine_ms for s in samples)
    about_mean = sum(s.engine_ms * s.engine_ms for s in samples) - Fraction(
        whole * whole, len(samples)
    )
    if not about_mean:
        return Decimal(0)
    part = max(Fraction(0), 1 - _left(samples, prefill, decode) / about_mean)
    return Decimal(round(part * 10_000)).scaleb(-4)


def _unusable(samples: int, fit: Decimal, weights: Fraction) -> str:
    if samples < LEAST_SAMPLES:
        return f"{samples} samples, {LEAST_SAMPLES} are needed"
    if fit < LEAST_FIT or not weights:
        return f"Fit {fit}, {LEAST_FIT} is needed"
    return ""


def work_of(use: Use, weights: Weights | None) -> int:
    """Nanoseconds; without weights, the engine time."""
    if weights is None:
        return use.engine_ms * NS_PER_MS
    return use.fresh * weights.prefill_ns + use.completion * weights.decode_ns


def cached_work(use: Use, weights: Weights | None) -> int:
    """What the cached tokens would have been, by weights; not known without."""
    return use.cached * weights.prefill_ns if weights else 0


def allocate_work(
    pool: GpuPool,
    cost: Decimal,
    used: Mapping[Consumer, Use],
    service_ms: int,
    weights: Mapping[str, Weights],
) -> list[Share]:
    """Shares of one pool, which add up to its cost. `weights` by release."""
    engine = {consumer: use.engine_ms for consumer, use in used.items()}
    works = {c: work_of(use, weights.get(c.release)) for c, use in used.items()}
    if pool.state != SERVING or not any(works.values()):
        return allocate_pool(pool, cost, engine, service_ms)
    busy = sum(ms for _, ms in parts_of(pool, engine, service_ms))
    if not busy:
        return allocate_pool(pool, cost, {}, service_ms)
    idle = max(0, pool.gpu_ms - busy)
    for_work, for_idle = split(cost, [busy, idle])
    workers = [c for c in sorted(used) if works[c]]
    amounts = split(for_work, [works[c] for c in workers])
    times = _whole(busy, [works[c] for c in workers])
    shares = [
        Share(
            TENANT, c, c.model, ms, amount,
            _saved(amount, works[c], cached_work(used[c], weights.get(c.release))),
        )
        for c, ms, amount in zip(workers, times, amounts, strict=True)
    ]  # fmt: skip
    if idle:
        shares.append(Share(IDLE, None, pool.service, idle, for_idle))
    return shares


def _whole(busy: int, works: Sequence[int]) -> list[int]:
    """Milliseconds by work that add up to `busy`."""
    return [int(part.scaleb(12)) for part in split(Decimal(busy).scaleb(-12), works)]


def _saved(amount: Decimal, work: int, cached: int) -> Decimal:
    """At the price of the consumer's own work."""
    exact = Fraction(amount) * cached / work
    return Decimal(round(exact * 10**12)).scaleb(-12).quantize(PICO, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Choice:
    """A method that counts from an hour on; of two for the same hour, the later one counts."""

    method: str
    starts_at: datetime


def method_at(choices: Iterable[Choice], hour: datetime, usual: str) -> str:
    """`choices` by start, then in the order in which they were made."""
    found = usual
    for choice in choices:
        if choice.starts_at <= hour:
            found = choice.method
    return found
