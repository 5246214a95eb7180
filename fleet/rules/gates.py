"""Judge a canary against stable in the same window. Too few samples are never a pass.

A fail needs a proof beyond noise (an exact test) and beyond the tolerance. The chance of a false
alarm of a whole rollout is `alpha`: each step gets an equal part, each look of a step a part of
that (see `alpha_of_look`), and all tests of one look share it equally.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from math import sqrt
from typing import Any

from fleet.rules.comparison import Group, Window, groups_of, judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.measures import Measured, measures_of
from fleet.rules.phases import Verdict
from fleet.rules.statistics import alpha_of_look, more_needed, worse
from fleet.rules.traffic import GATE_SECONDS, slot_of
from fleet.rules.whole_measures import Shown, whole_of

ARRIVAL = timedelta(seconds=3)  # usage events reach the statistics this late
LATE = 15.0  # seconds: what gateways hold back longer is missing from the statistics
CONFIRM_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Which look of how many gates. Only those that are due may fail: each costs some alpha."""

    number: int = 1
    gates: int = 1
    is_due: bool = True


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one test: samples for a pass, chance of a false alarm, chance that is waited out."""

    needed: int
    alpha: float
    doubt: float


@dataclass(frozen=True, slots=True)
class Check:
    metric: str
    title: str
    group: str  # empty: all requests; class batch, tenant acme, application acme/chat
    unit: str  # share, ms, tokens, rate (tokens per GPU-second), number
    canary: float | None
    stable: float | None
    limit: float | None
    samples: int
    needed: int
    stable_samples: int
    verdict: Verdict
    why: str
    p: float | None  # chance of such a figure by noise alone; None: not beyond the limit
    is_floor: bool = False  # less than the limit is beyond it


@dataclass(frozen=True, slots=True)
class Reading:
    """One look of the gate."""

    verdict: Verdict
    why: str
    checks: tuple[Check, ...]
    start: datetime
    end: datetime
    shown: tuple[Shown, ...] = ()
    few: tuple[str, ...] = ()  # groups with too few samples to be judged alone
    alpha: float = 0.0  # of one test of this look
    tests: int = 0
    look: Look = Look()
    sources: Sequence[str] = ()

    def evidence(self) -> dict[str, Any]:
        return {
            "shown": [asdict(s) for s in self.shown],
            "few": list(self.few),
            "alpha": self.alpha,
            "tests": self.tests,
            "look": self.look.number,
            "gates": self.look.gates,
            "sources": list(self.sources),
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "why": self.why,
            "checks": [asdict(c) | {"verdict": c.verdict.value} for c in self.checks],
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "evidence": self.evidence(),
        }


def bounds_of(since: datetime, now: datetime) -> tuple[datetime, datetime]:
    """Whole slots after `since` that have surely arrived; the slot of the change is dropped."""
    start = slot_of(since, GATE_SECONDS) + timedelta(seconds=GATE_SECONDS)
    return start, max(slot_of(now - ARRIVAL, GATE_SECONDS), start)


def arrears(waiting: Sequence[tuple[str, int, float]]) -> str:
    """Gateways (name, events, age of the oldest in seconds) that could not report; empty: none."""
    late = [(name, events, age) for name, events, age in waiting if events and age > LATE]
    if not late:
        return ""
    name, _, age = max(late, key=lambda w: w[2])
    return (
        f"The statistics lack {sum(events for _, events, _ in late):,} requests that gateways could"
        f" not report yet; the oldest waits in {name} for {age:.0f} s"
    )


def read_gate(
    window: Window, min_samples: int, limits: GateLimits, look: Look | None = None
) -> Reading:
    """Judge all groups by all measures; the worst answer is the gate's."""
    look = look or Look()
    everybody, *parts = groups_of(window)
    alone = [g for g in parts if has_samples(g, limits)]
    few = [f"{g.name} {judged(g.canary):,}" for g in parts if g not in alone and g.canary.requests]
    whole_window, shown = whole_of(window, limits)
    whole_measured = [*(m(everybody, limits) for m in measures_of(limits)), *whole_window]
    parts_measured = [(g, m(g, limits)) for g in alone for m in measures_of(limits)]
    measured = [*((everybody, m) for m in whole_measured), *parts_measured]
    # Who has no samples of a figure cannot fail by it: that costs the others nothing.
    tests = max(sum(can_tell(m, limits) for _, m in measured), 1)
    alpha = alpha_of_look(limits.alpha / look.gates, look.number) / tests
    whole = Terms(min_samples, alpha, limits.doubt)
    part = Terms(limits.fewest, alpha, limits.doubt / max(len(parts_measured), 1))
    checks = tuple(
        judge(m, g.name, window, limits, look, whole if g is everybody else part)
        for g, m in measured
    )
    found = Reading(
        Verdict.PASS,
        "",
        checks,
        window.start,
        window.end,
        shown,
        tuple(few),
        alpha,
        tests,
        look,
        window.sources,
    )
    verdict, why = worst(checks)
    left_out = window.apart.told() if window.apart else ""
    why += said_of(alone, few, limits)
    return replace(found, verdict=verdict, why=f"{why}. {left_out}" if left_out else why)


def has_samples(group: Group, limits: GateLimits) -> bool:
    return min(judged(group.canary), judged(group.stable)) >= limits.fewest


def worst(checks: Sequence[Check]) -> tuple[Verdict, str]:
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = [c for c in checks if c.verdict is verdict]
        if found:
            return verdict, "; ".join(c.why for c in found)
    inside = "; ".join(c.why for c in checks if not c.group and c.samples and c.stable_samples)
    return Verdict.PASS, f"Inside all limits: {inside}"


def said_of(alone: Sequence[Group], few: Sequence[str], limits: GateLimits) -> str:
    """Who was judged alone, and who had too few samples for it: the small do not vanish."""
    said = f". Judged alone too: {', '.join(g.name for g in alone)}" if alone else ""
    if few:
        said += f". Too few samples to be judged alone (of {limits.fewest}): {', '.join(few)}"
    return said


def judge(
    m: Measured,
    group: str,
    window: Window,
    limits: GateLimits,
    look: Look,
    terms: Terms,
) -> Check:
    needed, alpha = terms.needed, terms.alpha
    p = chance_of(m, limits) if m.is_beyond else None
    missing = too_few(m, window, needed, limits)
    text = words_of(m)
    verdict = Verdict.PASS
    if p is not None and p <= alpha:
        verdict, text = Verdict.FAIL, f"{text} ({proof(p, alpha)})"
        if not look.is_due:
            verdict, text = Verdict.INCONCLUSIVE, f"{text}, judged at the next look"
    elif missing:
        verdict, text = Verdict.INCONCLUSIVE, missing
    elif p is not None and p <= terms.doubt:
        verdict, text = Verdict.INCONCLUSIVE, f"{text}: {unsure(m, p, alpha, window)}"
    elif p is not None:
        text += f", within noise (p = {p:.2g})"
    return Check(
        m.metric,
        m.title,
        group,
        m.unit,
        m.canary,
        m.stable,
        m.limit,
        m.samples,
        needed if m.is_needed else 0,
        m.stable_samples,
        verdict,
        f"{group}: {text}" if group else text,
        p,
        m.is_floor,
    )


def can_tell(m: Measured, limits: GateLimits) -> bool:
    enough = limits.fewest if m.enough is None else m.enough
    return m.samples >= enough and m.stable_samples > 0


def chance_of(m: Measured, limits: GateLimits) -> float | None:
    if not can_tell(m, limits):
        return None
    return min(worse(m.tables, m.allowed) * m.sides, 1.0)


def proof(p: float, alpha: float) -> str:
    return f"chance p = {p:.2g}, alarm below {alpha:.2g}"


def unsure(m: Measured, p: float, alpha: float, window: Window) -> str:
    more = more_needed(m.tables, m.allowed, alpha / m.sides)
    waits = "" if more is None else f"; {more:,} more {m.what} would prove it"
    waits += "" if more is None else wait(more, m.samples, window.seconds)
    return f"noise does this with chance {p:.2g}, an alarm needs {alpha:.2g}{waits}"


def words_of(m: Measured) -> str:
    if m.canary is None or m.stable is None or m.limit is None:
        return f"{m.title}: nothing to compare"
    of = f" of {m.samples:,}" if m.unit == "share" and m.enough is None else ""
    canary, limit, stable = (amount(v, m.unit) for v in (m.canary, m.limit, m.stable))
    return (
        f"{m.title} {canary}{of}, {'at least' if m.is_floor else 'limit'} {limit}, stable {stable}"
    )


def amount(value: float, unit: str) -> str:
    """For people: 7.56%, 3.210 preemptions, 31.2 tokens, 403 ms."""
    if unit == "share":
        return f"{value:.2%}"
    if unit in ("rate", "number"):
        return f"{value:.1f}" if unit == "rate" else f"{value:.3f}"
    return f"{value:.0f} {unit}"


def too_few(m: Measured, window: Window, needed: int, limits: GateLimits) -> str:
    """Too few samples on either side: say how many are missing and about how long they take."""
    if not m.is_needed:
        return ""
    what = "requests" if m.unit == "share" else f"{m.title} samples"
    if m.samples < needed:
        return (
            f"{needed - m.samples:,} of {needed:,} {what} of the canary are missing"
            f"{wait(needed - m.samples, m.samples, window.seconds)}"
        )
    wanted = min(limits.stable_samples, needed)
    if m.stable_samples < wanted:
        return (
            f"{wanted - m.stable_samples:,} of {wanted:,} {what} of stable are missing"
            f"{wait(wanted - m.stable_samples, m.stable_samples, window.seconds)}"
        )
    return ""


def wait(missing: int, seen: int, seconds: float) -> str:
    if not seen or not seconds:
        return ", and none came yet"
    left = missing * seconds / seen
    return f", about {left:.0f} s at this rate" if left < 120 else f", about {left / 60:.0f} min"


@dataclass(frozen=True, slots=True)
class Share:
    """Traffic that the canary got, counted from the fingerprints of answers."""

    observed: float | None
    requests: int
    inside: bool


def copied(window: Window, percent: int) -> Share:
    """Requests of which a shadow answered a copy: fewer than wanted where gateways hold back."""
    copies, requests = judged(window.canary), judged(window.stable)
    if not requests:
        return Share(None, 0, inside=False)
    observed = copies / requests
    return Share(observed, requests, inside=copies >= CONFIRM_SAMPLES * percent / 100 > 0)


def share_of(window: Window, percent: int) -> Share:
    """Compare the observed share with the wanted one: 5 points, or three sigma of few samples."""
    canary, stable = judged(window.canary), judged(window.stable)
    total = canary + stable
    if total < CONFIRM_SAMPLES:
        return Share(canary / total if total else None, total, inside=False)
    wanted = percent / 100
    slack = max(0.05, 3 * sqrt(wanted * (1 - wanted) / total))
    observed = canary / total
    return Share(observed, total, abs(observed - wanted) <= slack)
