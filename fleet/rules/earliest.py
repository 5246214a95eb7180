"""When a way can begin at the earliest: GPUs that others give back, and the change calendar. Pure.

Whole GPUs are counted, not their nodes: a moment is an expectation, the turn itself is judged on
the day. What nobody can know is said: "when", not "at".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.answers import Answer, Quota, gpus
from fleet.rules.capacity import Gpus
from fleet.rules.fit import NodeRoom, gpus_of, matching
from fleet.rules.freeze import Window, frozen_by
from fleet.rules.plan import Plan
from fleet.rules.queue import Ahead, alike
from fleet.rules.queue import listed as names_of

MOST_FREEZES = 50


@dataclass(frozen=True, slots=True)
class Earliest:
    """`at` None: never, or nobody can say when; `text` tells which."""

    at: datetime | None
    text: str
    never: bool = False


@dataclass(frozen=True, slots=True)
class Calendar:
    """`opens`: before it, nobody asked it to begin. `after`: what must have ended first."""

    now: datetime
    freezes: Sequence[Window] = ()
    opens: datetime | None = None
    after: str = ""


def earliest(
    plan: Plan,
    nodes: Sequence[NodeRoom],
    quotas: Sequence[Quota],
    ahead: Sequence[Ahead],
    calendar: Calendar,
) -> Earliest:
    if plan.answer is Answer.NEVER:
        return Earliest(None, f"never: {plan.why}", never=True)
    if plan.answer is Answer.NOT_NOW:
        return Earliest(None, missing_words(plan, nodes))
    if calendar.after:
        return Earliest(None, f"when {calendar.after} has ended")
    begins, because = turn(plan, nodes, quotas, ahead, calendar.now)
    if begins is None:
        return Earliest(None, because)
    if calendar.opens and calendar.opens > begins:
        begins, because = calendar.opens, "as it was asked for"
    opened, freeze = out_of_freezes(calendar.freezes, begins)
    if opened is None:
        return Earliest(None, f"when somebody ends “{freeze}”")
    if opened > begins:
        because = f"“{freeze}” lets no rollout begin before"
    consent = "only with explicit consent" if plan.answer is Answer.NEEDS_CONSENT else ""
    text = ", ".join(filter(None, (because, consent)))
    return Earliest(opened, text or "as soon as it is approved")


def turn(
    plan: Plan,
    nodes: Sequence[NodeRoom],
    quotas: Sequence[Quota],
    ahead: Sequence[Ahead],
    now: datetime,
) -> tuple[datetime | None, str]:
    """When its GPUs are its own, and why not now."""
    if plan.answer is not Answer.QUEUED:
        return now, ""
    same = [a for a in ahead if alike(a.needs, plan.needs)] or list(ahead)
    because = f"when {names_of([a.name for a in same])} gave back GPUs"
    at = turn_at(plan, nodes, quotas, same, now)
    return (None, f"{because}: nobody knows when") if at is None else (at, f"about, {because}")


def out_of_freezes(windows: Sequence[Window], at: datetime) -> tuple[datetime | None, str]:
    """The first moment from then on in which nothing freezes, and the freeze that ends there.

    None: it has no end, or one follows the other for too long.
    """
    title = ""
    for _ in range(MOST_FREEZES):
        found = frozen_by(windows, at)
        if found is None:
            return at, title
        title = found.window.title
        if found.until is None:
            return None, title
        at = found.until
    return None, title


def missing_words(plan: Plan, nodes: Sequence[NodeRoom]) -> str:
    """What must come free, and what of it may come back with nodes that are out."""
    parts = [f"{one.missing} {gpus(one.product)}" for one in plan.products if one.missing]
    if not parts:
        return plan.why
    return f"not before {' and '.join(parts)} are free{returning(plan, nodes)}"


def returning(plan: Plan, nodes: Sequence[NodeRoom]) -> str:
    out: Counter[str] = Counter()
    for one in plan.products:
        for node in matching(nodes, one.product) if one.missing else ():
            if not node.usable:
                out[node.name] += max(node.allocatable - node.used, 0)
    back = sum(out.values())
    if not back:
        return ""
    names = names_of([name for name, n in sorted(out.items()) if n][:3])
    left = max(plan.gpus_missing - back, 0)
    still = f"; still {left} missing" if left else ""
    return f": {back} come back when {names} may be used again{still}"


class Pools:
    """GPUs that are free by product, and what quotas leave; both are taken and given back."""

    def __init__(self, nodes: Sequence[NodeRoom], quotas: Sequence[Quota]) -> None:
        products = {node.product for node in nodes}
        self.free = {(p, p): sum(n.free for n in matching(nodes, p)) for p in {*products, ""}}
        self.free |= {(q.name, q.product): q.free for q in quotas}

    def has(self, wanted: Gpus) -> bool:
        return all(n >= counted(wanted, of) for (_, of), n in self.free.items())

    def take(self, wanted: Gpus, sign: int = 1) -> None:
        for name, of in self.free:
            self.free[name, of] -= sign * counted(wanted, of)


def counted(wanted: Gpus, product: str) -> int:
    return sum(n for p, n in wanted.items() if product in ("", p))


def turn_at(
    plan: Plan,
    nodes: Sequence[NodeRoom],
    quotas: Sequence[Quota],
    ahead: Iterable[Ahead],
    now: datetime,
) -> datetime | None:
    """When all that come first have begun and enough came back. None: nobody knows."""
    pools, at = Pools(nodes, quotas), now
    back: list[tuple[datetime, Gpus]] = []
    waiting: list[tuple[Gpus, timedelta | None]] = []
    for other in ahead:
        if other.began and other.ends is None:
            return None
        if other.began and other.ends:
            back.append((max(other.ends, now), gpus_of(other.needs)))
        else:
            waiting.append((gpus_of(other.needs), other.takes))
    for wanted, takes in [*waiting, (gpus_of(plan.needs), timedelta())]:
        while not pools.has(wanted):
            if not back:
                return None
            back.sort(key=lambda one: one[0])
            moment, given = back.pop(0)
            at = max(at, moment)
            pools.take(given, -1)
        pools.take(wanted)
        if takes is not None:
            back.append((at + takes, wanted))
    return at
