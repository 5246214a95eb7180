"""How a service can move to another release: what each way needs, and the way back.

Computed before the start from what was observed. "Never" and "not now" are different answers,
and what was not measured is said, not guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from fleet.rules.fit import Fit, Need, NodeRoom, fit
from fleet.rules.phases import PlanKind


class Answer(StrEnum):
    POSSIBLE = "possible"
    NEEDS_CONSENT = "needs_consent"  # a time without any replica
    NOT_NOW = "not_now"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Starts:
    """Measured cold starts in seconds, from creation to admission. None: not measured."""

    samples: int = 0
    p50: float | None = None
    p95: float | None = None
    of: str = ""  # which release: "r17"
    borrowed: bool = False  # of another release than the one meant


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of traffic. `hold` and samples are what its gate waits for at least."""

    percent: int
    hold_seconds: int
    min_samples: int


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan is computed from."""

    product: str  # of the new release
    gpus_new: int  # a replica
    gpus_old: int
    replicas: int  # wanted of the new release
    old_replicas: int  # 0: nothing runs yet
    nodes: Sequence[NodeRoom]
    claims: Sequence[Need] = ()  # of other open rollouts
    starts_new: Starts = Starts()
    starts_old: Starts = Starts()
    grace_seconds: int = 120  # of the old release
    steps: Sequence[StepPlan] = ()
    soak_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds are expectations from measured starts; None means that one was not measured."""

    kind: PlanKind
    answer: Answer
    why: str
    surge: int  # replicas on top
    gpus_on_top: int
    gpus_free: int
    gpus_claimed: int
    gpus_missing: int
    min_replicas: int  # answering at any moment
    min_percent: float
    finish_seconds: float | None
    traffic_back_seconds: float | None
    full_back_seconds: float | None
    unmeasured: tuple[str, ...] = ()


def start_of(starts: Starts) -> float | None:
    return starts.p95


def plans_of(s: Situation) -> list[Plan]:
    """All ways, best first; the first possible one is proposed."""
    if s.old_replicas == 0:
        return [first_placement(s)]
    found = [surge_canary(s), replace(s)]
    return sorted(found, key=lambda p: list(Answer).index(p.answer))


def plan_of(s: Situation, kind: PlanKind) -> Plan:
    return next((p for p in plans_of(s) if p.kind is kind), plans_of(s)[0])


def surge_canary(s: Situation) -> Plan:
    """New replicas beside the old ones, which shrink only after new ones answer."""
    canary = ceil(s.replicas * (s.steps[0].percent if s.steps else 100) / 100)
    room = fit(s.nodes, Need(s.product, s.gpus_new, 1), s.claims)
    wish = min(max(canary, 1), s.replicas)
    surge = max(1, min(wish, room.places))
    need = Need(s.product, s.gpus_new, surge)
    answer, why = judge(need, room)
    moves = ceil(max(s.replicas - surge, 0) / surge)
    start = start_of(s.starts_new)
    if answer is Answer.POSSIBLE:
        why = (
            f"{need.total} {gpus(s.product)} on top, {room.free - room.claimed} free:"
            f" {surge} of {s.replicas} replicas at a time, never below 100 %"
        )
    return Plan(
        kind=PlanKind.SURGE_CANARY,
        answer=answer,
        why=why,
        surge=surge,
        gpus_on_top=need.total,
        gpus_free=room.free,
        gpus_claimed=room.claimed,
        gpus_missing=max(need.total - room.places * s.gpus_new, 0),
        min_replicas=s.old_replicas,
        min_percent=100.0,
        finish_seconds=finish(s, start, moves),
        traffic_back_seconds=5.0,
        full_back_seconds=5.0,
        unmeasured=unmeasured(s),
    )


def replace(s: Situation) -> Plan:
    """In place: an old replica goes, a new one takes its GPUs, again and again."""
    left = s.old_replicas - give_up(s.gpus_old, s.gpus_new)
    least = max(left, 0)
    share = 100.0 * least / s.old_replicas
    answer, why = judge_in_place(s, least)
    start, back = start_of(s.starts_new), start_of(s.starts_old)
    return Plan(
        kind=PlanKind.REPLACE,
        answer=answer,
        why=why,
        surge=0,
        gpus_on_top=0,
        gpus_free=fit(s.nodes, Need(s.product, s.gpus_new, 1), s.claims).free,
        gpus_claimed=0,
        gpus_missing=0,
        min_replicas=least,
        min_percent=share,
        finish_seconds=finish(s, start, s.replicas),
        traffic_back_seconds=5.0 if least else back_in_full(s, back, 1),
        full_back_seconds=back_in_full(s, back, s.old_replicas),
        unmeasured=unmeasured(s),
    )


def first_placement(s: Situation) -> Plan:
    """Nothing runs yet: there is no capacity to keep and no release to go back to."""
    need = Need(s.product, s.gpus_new, s.replicas)
    room = fit(s.nodes, need, s.claims)
    answer, why = judge(need, room)
    if answer is Answer.POSSIBLE:
        why = f"The first release: {need.total} {gpus(s.product)} of {room.free} free"
    return Plan(
        kind=PlanKind.SURGE_CANARY,
        answer=answer,
        why=why,
        surge=s.replicas,
        gpus_on_top=need.total,
        gpus_free=room.free,
        gpus_claimed=room.claimed,
        gpus_missing=max(need.total - room.places * s.gpus_new, 0),
        min_replicas=0,
        min_percent=100.0,
        finish_seconds=finish(s, start_of(s.starts_new), 0),
        traffic_back_seconds=None,
        full_back_seconds=None,
        unmeasured=unmeasured(s),
    )


def judge(need: Need, room: Fit) -> tuple[Answer, str]:
    """Is there room for whole replicas: ever, now?"""
    what = gpus(need.product)
    if room.nodes == 0:
        return Answer.NEVER, f"No node has {what}: {need.total} needed, the cluster has none"
    if room.largest < need.gpus:
        return (
            Answer.NEVER,
            f"A replica of {need.gpus} {what} fits on no node: the largest has {room.largest}",
        )
    if room.ever < need.replicas:
        return (
            Answer.NEVER,
            f"{need.replicas} replicas of {need.gpus} {what} never fit: all {room.nodes} nodes"
            f" together have room for {room.ever}",
        )
    if room.places < need.replicas:
        missing = need.total - room.places * need.gpus
        held = f", {room.claimed} of them claimed by other rollouts" if room.claimed else ""
        return (
            Answer.NOT_NOW,
            f"{missing} {what} missing: {need.total} needed as whole replicas of {need.gpus},"
            f" {room.free} free{held}",
        )
    return Answer.POSSIBLE, ""


def judge_in_place(s: Situation, least: int) -> tuple[Answer, str]:
    if s.replicas * s.gpus_new > s.old_replicas * s.gpus_old:
        extra = s.replicas * s.gpus_new - s.old_replicas * s.gpus_old
        need = Need(s.product, s.gpus_new, ceil(extra / s.gpus_new))
        answer, why = judge(need, fit(s.nodes, need, s.claims))
        if answer is not Answer.POSSIBLE:
            return answer, f"{extra} GPUs more than now. {why}"
    if least == 0:
        return (
            Answer.NEEDS_CONSENT,
            f"No replica answers while the only one is replaced: drain up to {s.grace_seconds} s,"
            f" then a cold start {described(s.starts_new)}",
        )
    return (
        Answer.POSSIBLE,
        f"No GPU on top: {least} of {s.old_replicas} replicas answer meanwhile"
        f" ({100 * least / s.old_replicas:.0f} %)",
    )


def give_up(gpus_old: int, gpus_new: int) -> int:
    """Old replicas whose GPUs one new replica needs."""
    return ceil(gpus_new / gpus_old)


def finish(s: Situation, start: float | None, moves: int) -> float | None:
    """First start, holds, the remaining starts one after another with drains, and the soak."""
    if start is None:
        return None
    holds = sum(step.hold_seconds for step in s.steps)
    return start + holds + moves * (start + s.grace_seconds) + s.soak_seconds


def back_in_full(s: Situation, start: float | None, replicas: int) -> float | None:
    return None if start is None else replicas * (start + s.grace_seconds)


def unmeasured(s: Situation) -> tuple[str, ...]:
    found = []
    if not s.starts_new.samples or s.starts_new.borrowed:
        found.append("cold start of the new release: 0 starts seen")
    if s.old_replicas and (not s.starts_old.samples or s.starts_old.borrowed):
        found.append("cold start of the old release: 0 starts seen")
    return tuple(found)


def described(starts: Starts) -> str:
    if starts.p95 is None:
        return "that was never measured"
    return f"of {starts.p95:.0f} s (p95 of {starts.samples} starts of {starts.of})"


def gpus(product: str) -> str:
    return product.removeprefix("NVIDIA-") or "GPUs"
