"""The steps of a rollout as a table: what each was planned to be, and what it was. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Protocol

from fleet.rules.audience import Audience
from fleet.rules.balance import Counts
from fleet.rules.capacity import Gpus, room_in, times
from fleet.rules.phases import Phase, PlanKind
from fleet.rules.plan import Plan
from fleet.rules.situation import Situation, StepPlan

EVERYBODY = "everybody"
STARTING = (Phase.CANARY_STARTING, Phase.CANARY_VERIFYING)
OF_A_STEP = (Phase.SHIFTING, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL)


class Event(Protocol):
    """One line of the timeline."""

    @property
    def at(self) -> datetime: ...
    @property
    def phase(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """What decides how many replicas of each release a step has."""

    kind: PlanKind
    replicas: int  # of the new release in the end
    old_replicas: int  # 0: nothing served before
    surge: int
    budget: Gpus  # that both releases together may hold
    new: Gpus  # of a replica, by product
    old: Gpus

    @property
    def apart(self) -> bool:
        """All new replicas start at once, with nothing beside them."""
        return self.kind is PlanKind.RECREATE or not self.old_replicas

    def at(self, percent: int) -> Counts:
        """When the new release is to carry so much."""
        together = self.replicas if self.apart else max(self.surge, 1)
        goal = min(max(ceil(self.replicas * percent / 100), together), self.replicas)
        return Counts(0 if self.apart else self._beside(goal), goal)

    def in_the_end(self) -> Counts:
        """With what stays warm of the old release until the soak is over."""
        kept = self._beside(self.replicas) if self.surge and not self.apart else 0
        return Counts(kept, self.replicas)

    def _beside(self, new: int) -> int:
        left = {**self.budget}
        for product, gpus in times(new, self.new).items():
            left[product] = left.get(product, 0) - gpus
        return max(room_in(left, self.old, self.old_replicas), 0)


def sizes_of(plan: Plan, s: Situation) -> Sizes:
    """Before it is proposed."""
    x = s.exchange
    return Sizes(plan.kind, s.replicas, s.old_replicas, plan.surge, plan.budget, x.new, x.old)


def sizes_from(kind: str, replicas: int, numbers: Mapping[str, Any]) -> Sizes | None:
    """Of the numbers that are frozen into a rollout; an older program knew one product of GPUs.

    None: they were not kept.
    """
    if "surge" not in numbers:
        return None
    old, surge = numbers["old_replicas"], numbers["surge"]
    gpus_new, gpus_old = numbers["gpus_new"], numbers["gpus_old"]
    new, before = numbers.get("mixes") or ({"": gpus_new}, {"": gpus_old})
    whole = {"": max(old * gpus_old + surge * gpus_new, replicas * gpus_new)}
    budget = numbers.get("budget") or whole
    return Sizes(PlanKind(kind), replicas, old, surge, budget, new, before)


@dataclass(frozen=True, slots=True)
class StepLine:
    """One line: planned beside what was. None: it did not come to that, or nobody plans it."""

    title: str  # First replicas, 5 %, Shadow 10 %, 100 %, Soak
    percent: int  # of the traffic
    takes_part: str
    new: int  # replicas of the new release, planned
    old: int
    hold_seconds: float | None
    min_samples: int | None
    approval: bool = False  # a person must say yes to what its gate judged
    new_was: int | None = None
    old_was: int | None = None
    begun: datetime | None = None
    ended: datetime | None = None
    samples: int | None = None  # fewest of the figures that need them
    state: str = "next"  # passed, skipped, failed, went_back, now, next, not_reached
    why: str = ""

    @property
    def held_seconds(self) -> float | None:
        return (self.ended - self.begun).total_seconds() if self.begun and self.ended else None


def planned(
    sizes: Sizes, steps: Sequence[StepPlan], soak_seconds: float | None, audience: Audience
) -> tuple[StepLine, ...]:
    """The first replicas, each step, all of the traffic, the soak."""
    first, last = sizes.at(0), sizes.in_the_end()
    middle = []
    for index, step in enumerate(steps):
        counts = sizes.at(0 if step.shadow else step.percent)
        middle.append(
            StepLine(
                title=f"Shadow {step.percent} %" if step.shadow else f"{step.percent} %",
                percent=0 if step.shadow else step.percent,
                takes_part=who(audience, index, step),
                new=counts.new,
                old=counts.old,
                hold_seconds=step.hold_seconds,
                min_samples=step.min_samples,
                approval=step.approval,
            )
        )
    return (
        StepLine("First replicas", 0, "nobody yet", first.new, first.old, None, None),
        *middle,
        StepLine("100 %", 100, EVERYBODY, last.new, last.old, None, None),
        StepLine("Soak", 100, EVERYBODY, last.new, last.old, soak_seconds, None),
    )


def who(audience: Audience, index: int, step: StepPlan) -> str:
    named = audience.words(index).removeprefix(" of ")
    if named and audience.goes_alone(index):
        named = f"only {named}"
    if step.shadow:
        return f"no client; requests of {named or EVERYBODY} are copied"
    return named or EVERYBODY


@dataclass(slots=True)
class Was:
    """What happened in one line of the table."""

    begun: datetime
    counts: Counts
    ended: datetime | None = None


def happened(events: Iterable[Event], steps: int, old_replicas: int) -> dict[int, Was]:
    """By number of the line, from the timeline, oldest first."""
    found: dict[int, Was] = {}
    now: int | None = None
    counts = Counts(old_replicas, 0)
    for event in events:
        detail = event.detail
        counts = Counts(
            detail.get("replicas_old", counts.old), detail.get("replicas_new", counts.new)
        )
        line = line_of(event, steps, now)
        if line != now and now is not None:
            found[now].ended = event.at
        if line is None:
            now = None
            continue
        was = found.setdefault(line, Was(event.at, counts))
        was.ended = None
        if line <= steps + 1:  # at the end of its soak the old release goes
            was.counts = counts
        now = line
    return found


def line_of(event: Event, steps: int, now: int | None) -> int | None:
    """None: it is before the first line, or goes back, or is over."""
    phase = Phase(event.phase)
    if phase in STARTING:
        return 0
    if phase in OF_A_STEP:
        return event.step + 1
    if phase is Phase.PAUSED:
        return now
    return {Phase.PROMOTING: steps + 1, Phase.SOAKING: steps + 2}.get(phase)


def state_of(line: int, was: Mapping[int, Was], phase: Phase, *, going: bool) -> str:
    """Of a line without a gate of its own. `going`: it is open, and not on its way back."""
    if line not in was:
        return "next" if going else "not_reached"
    if was[line].ended is None and going:
        return "now"
    if phase is Phase.SUCCEEDED or any(later > line for later in was):
        return "passed"
    return "went_back"
