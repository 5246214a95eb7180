"""How a service can move to another release: what each way needs, and the way back.

Computed before the start from what was observed. "Never" and "not now" are different answers,
and what was not measured is said, not guessed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from fleet.rules.answers import Answer, Quota, Verdict, below_floor, gpus, judge, tightest
from fleet.rules.capacity import Exchange, Gpus, room_in, times
from fleet.rules.fit import Need, gpus_of
from fleet.rules.phases import PlanKind
from fleet.rules.queue import turn
from fleet.rules.situation import Situation, Starts, StepPlan
from fleet.rules.unmeasured import unmeasured

SECONDS_BACK = 5.0  # gateways take new weights within it
OPEN = (Answer.POSSIBLE, Answer.NEEDS_CONSENT)
GOES = {
    PlanKind.SURGE_CANARY: "A surge canary fits",
    PlanKind.REPLACE: "Replace in place fits",
    PlanKind.RECREATE: "Recreate fits",
}


@dataclass(frozen=True, slots=True)
class OnTop:
    """GPUs of one product that a plan needs on top."""

    product: str
    gpus: int
    free: int
    claimed: int
    missing: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds are expectations from measured starts; None means that one was not measured."""

    kind: PlanKind
    answer: Answer
    why: str
    surge: int  # replicas on top
    at_once: int  # new replicas that start together
    gpus_on_top: int
    gpus_free: int
    gpus_claimed: int
    gpus_missing: int
    products: tuple[OnTop, ...]  # the same for each product
    needs: tuple[Need, ...]  # whole replicas that must find room beside the old release
    budget: Gpus  # that both releases together may hold
    quota: str  # the tightest one; empty: there is none
    quota_free: int | None  # GPUs; None: there is no quota, or it could not be read
    quota_needed: int  # of those that it counts
    floor: int | None
    min_replicas: int  # answering at any moment
    min_percent: float
    gated: bool  # steps and gates are possible: both releases answer beside each other
    gap_seconds: float | None  # without any answering replica
    requests_at_risk: int | None  # that fall into the gap, at the present rate
    finish_seconds: float | None
    gpu_seconds_on_top: float | None
    traffic_back_seconds: float | None
    full_back_seconds: float | None
    late_back_seconds: float | None  # the same once everything has moved
    unmeasured: tuple[str, ...] = ()
    peak_replicas: float | None = None  # that the peak of the last 7 days needs; None: not known

    @property
    def on_top(self) -> dict[str, int]:
        """GPUs on top by product."""
        return {one.product: one.gpus for one in self.products if one.gpus}


@dataclass(frozen=True, slots=True)
class Size:
    """The part of a plan that GPUs decide."""

    surge: int
    needs: tuple[Need, ...]  # on top
    budget: Gpus
    least: int


@dataclass(frozen=True, slots=True)
class Times:
    """The part of a plan that measured starts decide."""

    gap: float | None
    finish: float | None
    traffic_back: float | None
    full_back: float | None
    late_back: float | None


def plans_of(s: Situation) -> list[Plan]:
    """All ways, best first; the first possible one is proposed, and refused ones name it."""
    if s.old_replicas == 0:
        return [first_placement(s)]
    found = [surge_canary(s), blue_green(s), in_place(s), recreate(s)]
    found = sorted(found, key=lambda p: list(Answer).index(p.answer))
    best = found[0]
    if best.answer not in OPEN or best.kind not in GOES:
        return found
    return [replace(p, why=f"{p.why}. {GOES[best.kind]}") if refused(p) else p for p in found]


def refused(plan: Plan) -> bool:
    return plan.answer in (Answer.NEVER, Answer.NOT_NOW)


def plan_of(s: Situation, kind: PlanKind) -> Plan:
    return next((p for p in plans_of(s) if p.kind is kind), plans_of(s)[0])


def surge_canary(s: Situation) -> Plan:
    """New replicas beside the old ones, which shrink only after new ones answer.

    Where a new replica takes more GPUs than an old one frees, the last exchanges need more on top
    than the canary does: that much must be there from the start.
    """
    canary = ceil(s.replicas * (s.steps[0].percent if s.steps else 100) / 100)
    surge = max(1, min(max(canary, 1), s.replicas, places_now(s)))
    x = s.exchange
    budget = x.budget(surge, x.most)
    words = f"{surge} of {s.replicas} replicas at a time, never below {kept_words(x)}"
    if any(need.replicas > surge for need in s.on_top(budget)):
        words += f". A new replica takes {listed(x.new)}, an old one frees {listed(x.old)}"
    return beside(s, PlanKind.SURGE_CANARY, surge, budget, words)


def places_now(s: Situation) -> int:
    """New replicas that nodes and quotas have room for."""
    one = gpus_of(s.needs(1))
    free = [room.places for room in s.rooms(s.needs(1))]
    return min(free + [q.free // q.of(one) for q in s.quotas or () if q.of(one)])


def kept_words(x: Exchange) -> str:
    return "100 %" if x.most == x.old_replicas else f"the {x.most} that are wanted in the end"


def listed(mix: Gpus) -> str:
    """ "2 H100 and 1 L40S"."""
    return " and ".join(f"{n} {gpus(product)}" for product, n in sorted(mix.items()) if n)


def blue_green(s: Situation) -> Plan:
    """All new replicas beside all old ones, which stay warm until the soak is over."""
    words = (
        f"{s.replicas} of {s.replicas} replicas beside the old ones, which stay warm for"
        f" {s.soak_seconds} s"
    )
    x = s.exchange
    return beside(s, PlanKind.BLUE_GREEN, s.replicas, x.budget(s.replicas, x.most), words)


def beside(s: Situation, kind: PlanKind, surge: int, budget: Gpus, words: str) -> Plan:
    x, needs = s.exchange, s.on_top(budget)
    rooms = s.rooms(needs)
    answer, why = judge(needs, rooms, s.quotas or (), x.before)
    if answer is Answer.NOT_NOW:
        answer, why = turn(s.nodes, needs, s.quotas or (), s.ahead)
    if answer is Answer.POSSIBLE and any(need.replicas < s.replicas for need in needs):
        answer, why = judge_inside(s)
    if answer is Answer.POSSIBLE:
        free = sum(room.free - room.claimed for room in rooms)
        why = f"{listed(gpus_of(needs))} on top, {free} free: {words}"
    start, back = s.starts_new.p95, s.starts_old.p95
    moves = ceil(max(s.replicas - surge, 0) / surge)
    left = {p: n - s.replicas * x.new.get(p, 0) for p, n in budget.items()}
    warm = max(room_in(left, x.old, s.old_replicas), 0)
    again = ceil((s.old_replicas - warm) / max(warm, 1))
    expected = Times(
        gap=0.0,
        finish=finish(s, start, moves, s.steps),
        traffic_back=SECONDS_BACK,
        full_back=SECONDS_BACK,
        late_back=after_drains(s, back, again) if again else SECONDS_BACK,
    )
    return planned(s, kind, (answer, why), Size(surge, needs, budget, x.most), expected)


def in_place(s: Situation) -> Plan:
    """Old replicas go, a new one takes their GPUs, again and again."""
    budget = s.exchange.inside
    least, more = s.exchange.keepable(budget), s.exchange.on_top(budget)
    answer, why = judge_inside(s)
    short = below_floor(least, s.floor)
    if answer is Answer.POSSIBLE and least == 0:
        who = "the only one" if s.old_replicas == 1 else f"all {s.old_replicas}"
        answer, why = Answer.NEEDS_CONSENT, f"No replica answers while {who} {gap_words(s)}"
    elif answer is Answer.POSSIBLE:
        answer = Answer.NEEDS_CONSENT if short else answer
        share = f"{100 * least / s.old_replicas:.0f} %"
        on_top = listed(more) or "No GPU"
        words = f"{on_top} on top: {least} of {s.old_replicas} replicas answer meanwhile ({share})"
        why = f"{words}. {short}" if short else words
    start, back = s.starts_new.p95, s.starts_old.p95
    full = after_drains(s, back, s.old_replicas)
    expected = Times(
        gap=0.0 if least else after_drains(s, start, 1),
        finish=finish(s, start, s.replicas, s.steps if least else ()),
        traffic_back=SECONDS_BACK if least else after_drains(s, back, 1),
        full_back=full,
        late_back=full,
    )
    size = Size(0, s.on_top(budget), budget, least)
    return planned(s, PlanKind.REPLACE, (answer, why), size, expected)


def recreate(s: Situation) -> Plan:
    """All old replicas go, their GPUs come free, all new ones start: no moment with both."""
    answer, why = judge_inside(s)
    if answer is Answer.POSSIBLE:
        answer = Answer.NEEDS_CONSENT
        why = f"No replica answers while all {s.old_replicas} {gap_words(s)}"
    back = after_drains(s, s.starts_old.p95, 1)
    gap = after_drains(s, s.starts_new.p95, 1)
    expected = Times(
        gap=gap,
        finish=None if gap is None else gap + s.soak_seconds,
        traffic_back=back,
        full_back=back,
        late_back=back,
    )
    budget = s.exchange.inside
    size = Size(0, s.on_top(budget), budget, 0)
    return planned(s, PlanKind.RECREATE, (answer, why), size, expected)


def first_placement(s: Situation) -> Plan:
    """Nothing runs yet: there is no capacity to keep and no release to go back to."""
    needs = s.needs(s.replicas)
    answer, why = turn(s.nodes, needs, s.quotas or (), s.ahead)
    if answer is Answer.POSSIBLE:
        free = sum(room.free for room in s.rooms(needs))
        why = f"The first release: {listed(gpus_of(needs))} of {free} free"
    expected = Times(0.0, finish(s, s.starts_new.p95, 0, s.steps), None, None, None)
    size = Size(s.replicas, needs, dict(times(s.replicas, s.exchange.new)), 0)
    return planned(s, PlanKind.SURGE_CANARY, (answer, why), size, expected)


def planned(s: Situation, kind: PlanKind, verdict: Verdict, size: Size, expected: Times) -> Plan:
    more = Counter(s.exchange.on_top(size.budget))
    tight = tightest(s.quotas or (), more)
    share = 100.0 * size.least / s.old_replicas if s.old_replicas else 100.0
    gap, finished = expected.gap, expected.finish
    products = products_of(s, size.needs, more, fits=verdict[0] in OPEN)
    return Plan(
        kind=kind,
        answer=verdict[0],
        why=verdict[1],
        surge=size.surge,
        at_once=s.replicas if kind is PlanKind.RECREATE else max(size.surge, 1),
        gpus_on_top=more.total(),
        gpus_free=sum(one.free for one in products),
        gpus_claimed=sum(one.claimed for one in products),
        gpus_missing=sum(one.missing for one in products),
        products=products,
        needs=size.needs,
        budget=size.budget,
        quota=tight.name if tight else "",
        quota_free=tight.free if tight else None,
        quota_needed=tight.of(more) if tight else 0,
        floor=s.floor,
        min_replicas=size.least,
        min_percent=share,
        gated=bool(size.least),
        gap_seconds=gap,
        requests_at_risk=None if gap is None else round(s.requests_an_hour * gap / 3600),
        finish_seconds=finished,
        gpu_seconds_on_top=None if finished is None else more.total() * finished,
        traffic_back_seconds=expected.traffic_back,
        full_back_seconds=expected.full_back,
        late_back_seconds=expected.late_back,
        unmeasured=(*unmeasured(s), *scattered(s, kind, size)),
        peak_replicas=s.peak.needs if s.peak and s.old_replicas else None,
    )


def products_of(
    s: Situation, needs: Sequence[Need], more: Gpus, *, fits: bool
) -> tuple[OnTop, ...]:
    """Where it fits nothing is missing: in place, old replicas free what is not there now."""
    found = []
    for need, room in zip(needs, s.rooms(needs), strict=True):
        wanted = more.get(need.product, need.total)
        missing = 0 if fits else max(need.total - room.places * need.gpus, 0)
        found.append(OnTop(need.product, wanted, room.free, room.claimed, min(missing, wanted)))
    return tuple(found)


def judge_inside(s: Situation) -> Verdict:
    """Is there room for all new replicas once the old ones have left?"""
    before = s.exchange.before
    quotas = [
        Quota(q.name, q.hard, max(q.used - q.of(before), 0), q.product) for q in s.quotas or ()
    ]
    needs = s.needs(s.replicas)
    if sum(node.leaving for node in s.nodes) >= before.total():
        answer, why = judge(needs, s.rooms(needs, vacated=True), quotas)
        return answer, f"Even after the old release has left: {why}" if why else ""
    # Where its pods are was not seen: what it holds is counted, not placed.
    budget = s.exchange.inside
    more = s.on_top(budget)
    if not any(need.replicas for need in more):
        return Answer.POSSIBLE, ""
    answer, why = judge(more, s.rooms(more), s.quotas or ())
    extra = sum(s.exchange.on_top(budget).values())
    return answer, f"{extra} GPUs more than now. {why}" if why else ""


def scattered(s: Situation, kind: PlanKind, size: Size) -> tuple[str, ...]:
    """What comes free pod by pod is no place for a larger one before it is on one node."""
    largest = max(max(need.largest for need in size.needs), 1)
    smallest = min(s.pods_old, default=s.gpus_old)
    waits = kind in (PlanKind.SURGE_CANARY, PlanKind.REPLACE) and s.old_replicas
    if not waits or largest <= smallest or all(n.replicas >= s.replicas for n in size.needs):
        return ()
    return (
        f"when {largest} GPUs come free on one node: old replicas free {smallest} each, on"
        " whichever nodes",
    )


def finish(
    s: Situation, start: float | None, moves: int, steps: Sequence[StepPlan]
) -> float | None:
    """First start, holds, the remaining starts one after another with drains, and the soak."""
    if start is None:
        return None
    holds = sum(step.hold_seconds for step in steps)
    return start + holds + moves * (start + s.grace_seconds) + s.soak_seconds


def after_drains(s: Situation, start: float | None, times: int) -> float | None:
    return None if start is None else times * (start + s.grace_seconds)


def gap_words(s: Situation) -> str:
    are = "are" if s.old_replicas > 1 else "is"
    return (
        f"{are} replaced: drain up to {s.grace_seconds} s, then a cold start"
        f" {described(s.starts_new)}"
    )


def described(starts: Starts) -> str:
    if starts.p95 is None:
        return "that was never measured"
    pool = f" on {gpus(starts.pool)}" if starts.pool else ""
    return f"of {starts.p95:.0f} s (p95 of {starts.samples} starts of {starts.of}{pool})"
