"""How a service can move to another release: what each way needs, and the way back.

Computed before the start from what was observed. "Never" and "not now" are different answers,
and what was not measured is said, not guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from fleet.rules.answers import Answer, Quota, Verdict, below_floor, gpus, judge, tightest
from fleet.rules.fit import Fit, Need, NodeRoom, fit
from fleet.rules.phases import PlanKind
from fleet.rules.queue import Ahead, turn

SECONDS_BACK = 5.0  # gateways take new weights within it


@dataclass(frozen=True, slots=True)
class Starts:
    """Measured cold starts in seconds, from creation to admission. None: not measured."""

    samples: int = 0
    p50: float | None = None
    p95: float | None = None
    of: str = ""  # which release, or the model of several: "r17"
    borrowed: bool = False  # of another release than the one meant
    pool: str = ""  # GPU product of the nodes; empty: of all


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of traffic. `hold` and samples are what its gate waits for at least.

    Of a shadow no answer reaches a client: `percent` of the requests are copied to the new
    release, and its answers are compared and dropped.
    """

    percent: int
    hold_seconds: int
    min_samples: int
    shadow: bool = False

    @property
    def words(self) -> str:
        """After "step 2"."""
        return f"as a shadow of {self.percent} %" if self.shadow else f"at {self.percent} %"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan is computed from."""

    product: str  # of the new release
    gpus_new: int  # a replica
    gpus_old: int
    replicas: int  # wanted of the new release
    old_replicas: int  # 0: nothing runs yet
    nodes: Sequence[NodeRoom]
    ahead: Sequence[Ahead] = ()  # other open rollouts
    quotas: Sequence[Quota] | None = ()  # None: could not be read
    queue_unread: bool = False  # Kueue is there, and its quota could not be read
    floor: int | None = None  # replicas that disruption budgets want to answer
    requests_an_hour: int = 0  # that the service got lately
    starts_new: Starts = Starts()
    starts_old: Starts = Starts()
    grace_seconds: int = 120  # of the old release
    steps: Sequence[StepPlan] = ()
    soak_seconds: int = 3600
    pods_new: tuple[int, ...] = ()  # GPUs of each pod of a replica; empty: it is one pod

    def need(self, replicas: int) -> Need:
        return Need(self.product, self.gpus_new, replicas, self.pods_new)

    @property
    def claims(self) -> list[Need]:
        """GPUs that are free and that others will take."""
        return [a.need for a in self.ahead if not a.began]


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
    quota: str  # the tightest one; empty: there is none
    quota_free: int | None  # GPUs; None: there is no quota, or it could not be read
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


@dataclass(frozen=True, slots=True)
class Times:
    """The part of a plan that measured starts decide."""

    gap: float | None
    finish: float | None
    traffic_back: float | None
    full_back: float | None
    late_back: float | None


def plans_of(s: Situation) -> list[Plan]:
    """All ways, best first; the first possible one is proposed."""
    if s.old_replicas == 0:
        return [first_placement(s)]
    found = [surge_canary(s), blue_green(s), in_place(s), recreate(s)]
    return sorted(found, key=lambda p: list(Answer).index(p.answer))


def plan_of(s: Situation, kind: PlanKind) -> Plan:
    return next((p for p in plans_of(s) if p.kind is kind), plans_of(s)[0])


def surge_canary(s: Situation) -> Plan:
    """New replicas beside the old ones, which shrink only after new ones answer."""
    canary = ceil(s.replicas * (s.steps[0].percent if s.steps else 100) / 100)
    room = fit(s.nodes, s.need(1), s.claims)
    tight = tightest(s.quotas or ())
    places = room.places if tight is None else min(room.places, tight.free // s.gpus_new)
    surge = max(1, min(max(canary, 1), s.replicas, places))
    return beside(s, PlanKind.SURGE_CANARY, surge, "at a time, never below 100 %")


def blue_green(s: Situation) -> Plan:
    """All new replicas beside all old ones, which stay warm until the soak is over."""
    words = f"beside the old ones, which stay warm for {s.soak_seconds} s"
    return beside(s, PlanKind.BLUE_GREEN, s.replicas, words)


def beside(s: Situation, kind: PlanKind, surge: int, words: str) -> Plan:
    need = s.need(surge)
    room = fit(s.nodes, need, s.claims)
    answer, why = judge(need, room, s.quotas or (), s.old_replicas * s.gpus_old)
    if answer is Answer.NOT_NOW:
        answer, why = turn(s.nodes, need, s.quotas or (), s.ahead)
    if answer is Answer.POSSIBLE:
        why = (
            f"{need.total} {gpus(s.product)} on top, {room.free - room.claimed} free:"
            f" {surge} of {s.replicas} replicas {words}"
        )
    start, back = s.starts_new.p95, s.starts_old.p95
    moves = ceil(max(s.replicas - surge, 0) / surge)
    warm = min(surge * s.gpus_new // s.gpus_old, s.old_replicas)
    again = ceil((s.old_replicas - warm) / max(warm, 1))
    times = Times(
        gap=0.0,
        finish=finish(s, start, moves, s.steps),
        traffic_back=SECONDS_BACK,
        full_back=SECONDS_BACK,
        late_back=after_drains(s, back, again) if again else SECONDS_BACK,
    )
    return planned(s, kind, (answer, why), (need, room), s.old_replicas, times)


def in_place(s: Situation) -> Plan:
    """An old replica goes, a new one takes its GPUs, again and again."""
    least = max(s.old_replicas - ceil(s.gpus_new / s.gpus_old), 0)
    answer, why = judge_inside(s)
    short = below_floor(least, s.floor)
    if answer is Answer.POSSIBLE and least == 0:
        answer, why = Answer.NEEDS_CONSENT, f"No replica answers while the only one {gap_words(s)}"
    elif answer is Answer.POSSIBLE:
        answer = Answer.NEEDS_CONSENT if short else answer
        share = f"{100 * least / s.old_replicas:.0f} %"
        words = f"No GPU on top: {least} of {s.old_replicas} replicas answer meanwhile ({share})"
        why = f"{words}. {short}" if short else words
    start, back = s.starts_new.p95, s.starts_old.p95
    full = after_drains(s, back, s.old_replicas)
    times = Times(
        gap=0.0 if least else after_drains(s, start, 1),
        finish=finish(s, start, s.replicas, s.steps if least else ()),
        traffic_back=SECONDS_BACK if least else after_drains(s, back, 1),
        full_back=full,
        late_back=full,
    )
    return planned(s, PlanKind.REPLACE, (answer, why), nothing_on_top(s), least, times)


def recreate(s: Situation) -> Plan:
    """All old replicas go, their GPUs come free, all new ones start: no moment with both."""
    answer, why = judge_inside(s)
    if answer is Answer.POSSIBLE:
        answer = Answer.NEEDS_CONSENT
        why = f"No replica answers while all {s.old_replicas} {gap_words(s)}"
    back = after_drains(s, s.starts_old.p95, 1)
    gap = after_drains(s, s.starts_new.p95, 1)
    times = Times(
        gap=gap,
        finish=None if gap is None else gap + s.soak_seconds,
        traffic_back=back,
        full_back=back,
        late_back=back,
    )
    return planned(s, PlanKind.RECREATE, (answer, why), nothing_on_top(s), 0, times)


def first_placement(s: Situation) -> Plan:
    """Nothing runs yet: there is no capacity to keep and no release to go back to."""
    need = s.need(s.replicas)
    room = fit(s.nodes, need, s.claims)
    answer, why = turn(s.nodes, need, s.quotas or (), s.ahead)
    if answer is Answer.POSSIBLE:
        why = f"The first release: {need.total} {gpus(s.product)} of {room.free} free"
    times = Times(0.0, finish(s, s.starts_new.p95, 0, s.steps), None, None, None)
    return planned(s, PlanKind.SURGE_CANARY, (answer, why), (need, room), 0, times)


def planned(
    s: Situation,
    kind: PlanKind,
    verdict: Verdict,
    place: tuple[Need, Fit],
    least: int,
    times: Times,
) -> Plan:
    need, room = place
    tight = tightest(s.quotas or ())
    share = 100.0 * least / s.old_replicas if s.old_replicas else 100.0
    surge = need.replicas
    together = s.replicas if kind is PlanKind.RECREATE else max(surge, 1)
    risk = None if times.gap is None else round(s.requests_an_hour * times.gap / 3600)
    return Plan(
        kind=kind,
        answer=verdict[0],
        why=verdict[1],
        surge=surge,
        at_once=together,
        gpus_on_top=need.total,
        gpus_free=room.free,
        gpus_claimed=room.claimed,
        gpus_missing=max(need.total - room.places * s.gpus_new, 0),
        quota=tight.name if tight else "",
        quota_free=tight.free if tight else None,
        floor=s.floor,
        min_replicas=least,
        min_percent=share,
        gated=bool(least),
        gap_seconds=times.gap,
        requests_at_risk=risk,
        finish_seconds=times.finish,
        gpu_seconds_on_top=None if times.finish is None else need.total * times.finish,
        traffic_back_seconds=times.traffic_back,
        full_back_seconds=times.full_back,
        late_back_seconds=times.late_back,
        unmeasured=unmeasured(s),
    )


def nothing_on_top(s: Situation) -> tuple[Need, Fit]:
    return s.need(0), fit(s.nodes, s.need(1), s.claims)


def judge_inside(s: Situation) -> Verdict:
    """Is there room for all new replicas once the old ones have left?"""
    held = s.old_replicas * s.gpus_old
    quotas = [Quota(q.name, q.hard, max(q.used - held, 0)) for q in s.quotas or ()]
    need = s.need(s.replicas)
    if sum(node.leaving for node in s.nodes) >= held:
        answer, why = judge(need, fit(s.nodes, need, s.claims, vacated=True), quotas)
        return answer, f"Even after the old release has left: {why}" if why else ""
    # Where its pods are was not seen: what it holds is counted, not placed.
    extra = need.total - held
    if extra <= 0:
        return Answer.POSSIBLE, ""
    more = s.need(ceil(extra / s.gpus_new))
    answer, why = judge(more, fit(s.nodes, more, s.claims), s.quotas or ())
    return answer, f"{extra} GPUs more than now. {why}" if why else ""


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


def unmeasured(s: Situation) -> tuple[str, ...]:
    found = []
    if not s.starts_new.samples or s.starts_new.borrowed:
        found.append("cold start of the new release: 0 starts seen")
    if s.old_replicas and (not s.starts_old.samples or s.starts_old.borrowed):
        found.append("cold start of the old release: 0 starts seen")
    if s.quotas is None:
        found.append("quota of the namespace: it could not be read")
    if s.queue_unread:
        found.append("quota of the Kueue queue: the account may not read it")
    return tuple(found)


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
