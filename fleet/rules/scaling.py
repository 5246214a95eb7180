"""How many replicas a service should have now, and why. Pure: no clock, no cluster.

The first answer of CHECKS counts. More are ordered for what will be in flight when they have
started; one is given back when the highest load of a whole window fits into the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from fleet.rules.answers import gpus
from fleet.rules.moves import seconds
from fleet.rules.schedule import Bounds, Hours, bounds_ahead, refuse_bounds
from fleet.rules.situation import Starts
from fleet.rules.sleep import Quiet, Sleep, idle_of, why_awake

PERIOD = timedelta(seconds=15)  # between two looks
FRESH = timedelta(seconds=20)  # an engine is read every 5 s; older words do not count
GAP = timedelta(seconds=60)  # looks further apart leave a hole in what was seen
ASSUMED_START = 120.0  # seconds, where no start was measured
SHORTEST_GROWTH = timedelta(seconds=60)
LONGEST_GROWTH = timedelta(minutes=10)
MOST_GROWTH = 2.0  # growth is believed up to twice of what is in flight
FULL = 0.9  # what remains after a step down is at most so full, or it would soon be undone


@dataclass(frozen=True, slots=True)
class Policy:
    always: Bounds
    target: int  # requests in flight that one replica shall have
    stable: timedelta = timedelta(minutes=5)  # load must fit into less for so long
    pause: timedelta = timedelta(minutes=1)  # between two steps down
    hours: tuple[Hours, ...] = ()
    zone: str = "UTC"
    sleep: Sleep = Sleep()


@dataclass(frozen=True, slots=True)
class Load:
    """Requests in flight. None: nobody could be asked."""

    running: float = 0.0
    waiting: float = 0.0  # in engines
    queued: float | None = 0.0  # in gateways, also for a service that sleeps
    asked: int = 0  # replicas that take traffic
    answered: int = 0  # of them, with fresh metrics

    @property
    def total(self) -> float:
        return self.running + self.waiting + (self.queued or 0.0)

    @property
    def whole(self) -> bool:
        """Otherwise it is only the least that is in flight."""
        return 0 < self.asked == self.answered and self.queued is not None

    @property
    def words(self) -> str:
        parts = [f"{told(self.running)} running", f"{told(self.waiting)} waiting in engines"]
        if self.queued:
            parts.append(f"{told(self.queued)} in gateways")
        least = "" if self.whole else "at least "
        return f"{least}{some(self.total, 'request')} in flight ({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Sample:
    at: datetime
    demand: float


@dataclass(frozen=True, slots=True)
class Room:
    """Whole replicas that find GPUs now beside all that is ordered already."""

    replicas: int
    words: str = ""  # what is free, and what limits it
    gpus: int = 1  # a replica
    product: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    declared: int  # replicas ordered, those that start included
    serving: int
    load: Load
    history: Sequence[Sample] = ()  # older whole loads, the oldest first
    starts: Starts = Starts()
    room: Room = Room(0)
    floor: int = 0  # replicas that somebody's disruption budget wants
    changed_at: datetime | None = None  # the number, by a decision
    stale: str = ""  # why the cluster's state is not known
    owner: str = ""  # who else writes the number of replicas
    rollout: str = ""  # the open one
    frozen: str = ""  # name of what freezes the service
    quiet: Quiet = Quiet()
    called: bool = False  # a person wakes it

    @property
    def starting(self) -> int:
        return max(self.declared - self.serving, 0)

    @property
    def lag(self) -> timedelta:
        """What a replica takes until it answers, in all but 5 of 100 starts."""
        return timedelta(seconds=ASSUMED_START if self.starts.p95 is None else self.starts.p95)


@dataclass(frozen=True, slots=True)
class Decision:
    wanted: int
    given: int  # what is ordered from now on
    why: str
    forecast: float | None = None  # in flight, when what is ordered now has started


# field -> (least, most, what it is)
NUMBERS = {
    "target": (1, 100_000, "requests in flight of one replica"),
    "stable_seconds": (10, 86_400, "seconds that the load must fit into less"),
    "pause_seconds": (5, 3_600, "seconds between two steps down"),
    "idle_seconds": (10, 604_800, "seconds without a request until it sleeps"),
    "wait_seconds": (1, 3_600, "seconds that a request may wait for it to wake"),
    "max_waiting": (1, 10_000, "requests that may wait for it to wake"),
}


def refuse_policy(policy: Policy) -> dict[str, str]:
    """What is wrong with it, by field."""
    given = {
        "target": policy.target,
        "stable_seconds": round(policy.stable.total_seconds()),
        "pause_seconds": round(policy.pause.total_seconds()),
        "idle_seconds": round(policy.sleep.idle.total_seconds()),
        "wait_seconds": round(policy.sleep.wait.total_seconds()),
        "max_waiting": policy.sleep.most,
    }
    wrong = {
        name: f"Give {what}, a whole number from {least:,} to {most:,}, not {given[name]:,}"
        for name, (least, most, what) in NUMBERS.items()
        if not least <= given[name] <= most
    }
    return wrong | refuse_bounds(policy.always, policy.hours, policy.zone)


Check = Callable[[Policy, Bounds, Seen, datetime], Decision | None]


def decide(policy: Policy, seen: Seen, now: datetime) -> Decision:
    ahead = seen.lag + PERIOD
    bounds = bounds_ahead(policy.always, policy.hours, policy.zone, now, ahead)
    for check in CHECKS:
        if decision := check(policy, bounds, seen, now):
            return decision
    raise AssertionError("the last check always answers")


def keep(seen: Seen, why: str, *, wanted: int | None = None) -> Decision:
    return Decision(seen.declared if wanted is None else wanted, seen.declared, why)


def rollout_open(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    if not seen.rollout:
        return None
    return keep(seen, f"Waits for {seen.rollout}: a rollout counts replicas itself until it ends")


def owned(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    return keep(seen, f"Left alone. {seen.owner}") if seen.owner else None


def unseen(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    """Numbers that nobody has seen change nothing."""
    if seen.stale:
        return keep(seen, f"Nothing is changed on old knowledge. {seen.stale}")
    if seen.load.asked and not seen.load.answered:
        return keep(
            seen,
            f"Nothing is changed on old knowledge. None of {seen.load.asked} replicas gave metrics"
            f" in the last {seconds(FRESH)}",
        )
    return None


def above_most(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    """A maximum is somebody's word about money: it is kept at once."""
    if seen.declared <= bounds.most:
        return None
    why = f"The bounds are {bounds.words}: {seen.declared} → {bounds.most}. {seen.load.words}"
    return Decision(bounds.most, bounds.most, why)


def up(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    expected, how = forecast(seen, now)
    needed = max(ceil(expected / policy.target), int(seen.called))
    wanted = bounds.clamp(needed)
    if wanted <= seen.declared:
        return None
    given = seen.declared + max(min(wanted - seen.declared, seen.room.replicas), 0)
    if not seen.declared:
        why = woken_because(seen, needed)
    elif needed < bounds.least:
        why = f"The bounds are {bounds.words}: at least {some(bounds.least, 'replica')}"
    else:
        why = f"{how}: {some(needed, 'replica')} at {policy.target} each"
        why += f", and {bounds.most} at most" if needed > wanted else ""
    why += f", {seen.starting} of {seen.declared} are starting already" if seen.starting else ""
    if given < wanted:
        missing = (wanted - given) * seen.room.gpus
        what = gpus(seen.room.product)
        why += f". {wanted} wanted, {given} given: {missing} {what} missing. {seen.room.words}"
    else:
        why += f". {seen.declared} → {given}"
    return Decision(wanted, given, why, expected)


def woken_because(seen: Seen, needed: int) -> str:
    if queued := seen.load.queued:
        waiting = some(queued, "request")
        return f"It slept, and gateways have {waiting} for it: {some(needed, 'replica')} wanted"
    return "A person wakes it" if seen.called else "It slept, and the bounds have a minimum now"


def asleep(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    if seen.declared:
        return None
    if seen.load.queued is None:
        return keep(seen, "Sleeps. Whether requests wait for it in gateways is not known")
    return keep(seen, f"Sleeps. The first request wakes it; a start takes {started(seen)}")


def falls_asleep(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    """From however many to none: nobody asked for anything."""
    if bounds.least or reason_to_stay(policy, seen, now):
        return None
    idle = seconds(idle_of(policy.sleep, seen.lag))
    why = f"No request for {idle} or longer: {seen.declared} → 0. The first one wakes it"
    return Decision(0, 0, why)


def reason_to_stay(policy: Policy, seen: Seen, now: datetime) -> str:
    if seen.load.total:
        return "it does not sleep with requests in flight"
    if seen.load.asked and not seen.load.whole:
        return "not all replicas and gateways could be asked"
    if seen.frozen:
        return f"it does not sleep while “{seen.frozen}” holds"
    if seen.floor:
        return f"it does not sleep: a disruption budget asks for {seen.floor}"
    return why_awake(policy.sleep, seen.quiet, seen.lag, now)


def started(seen: Seen) -> str:
    """What a start takes, and how that is known."""
    known = "assumed" if seen.starts.p95 is None else f"p95 of {seen.starts.samples}"
    return f"{seconds(seen.lag)}, {known}"


def forecast(seen: Seen, now: datetime) -> tuple[float, str]:
    """What will be in flight when a replica that is ordered now answers, and how that is known."""
    load, horizon = seen.load, seen.lag + PERIOD
    rate = growth(seen, now)
    if rate <= 0:
        return load.total, load.words
    grown = min(load.total + rate * horizon.total_seconds(), MOST_GROWTH * load.total)
    how = (
        f"{load.words}, {told(rate * 60)} more a minute, so {told(grown)} when a replica has"
        f" started ({started(seen)})"
    )
    return grown, how


def growth(seen: Seen, now: datetime) -> float:
    """Requests in flight on top in a second, if it grew in both halves of the window.

    A step grows in one of them only: it is met as it is, and not taken for the start of more.
    """
    if not seen.load.whole:
        return 0.0
    window = min(max(seen.lag, SHORTEST_GROWTH), LONGEST_GROWTH)
    middle = last_before(seen.history, now - window / 2)
    first = last_before(seen.history, now - window)
    if middle is None or first is None or first.at == middle.at:
        return 0.0
    late = (seen.load.total - middle.demand) / (now - middle.at).total_seconds()
    early = (middle.demand - first.demand) / (middle.at - first.at).total_seconds()
    return max(min(late, early), 0.0)


def last_before(history: Sequence[Sample], at: datetime) -> Sample | None:
    found = [s for s in history if at - GAP <= s.at <= at]
    return found[-1] if found else None


def none_answers(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    if seen.load.whole:
        return None
    if not seen.load.asked:
        return keep(seen, f"No replica takes traffic yet, {seen.starting} are starting")
    missing = seen.load.asked - seen.load.answered
    gap = f"{missing} of {seen.load.asked} replicas gave no metrics lately" if missing else ""
    gap = gap or "The gateways' queues are not known"
    return keep(seen, f"{gap}: {seen.load.words} needs no more, and nothing is taken away")


def enough(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    """Load of a whole window must fit into one replica less, and the rest not be full."""
    peak, covered = highest(policy, seen, now)
    lowest = bounds.clamp(max(ceil(peak / (policy.target * FULL)), seen.floor, 1))
    if lowest < seen.declared:
        reason = why_not_less(policy, seen, now, covered)
        return keep(seen, reason, wanted=lowest) if reason else None
    share = seen.load.total / (seen.declared * policy.target)
    replicas = some(seen.declared, "replica")
    text = f"Enough: {seen.load.words} on {replicas}, {share:.0%} of what that takes"
    if bounds.least == 0 and seen.declared == 1:
        return keep(seen, f"{text}; {reason_to_stay(policy, seen, now)}")
    if seen.declared == bounds.least:
        return keep(seen, f"{text}; the bounds are {bounds.words}")
    if seen.floor >= seen.declared:
        return keep(seen, f"{text}; a disruption budget asks for {seen.floor}")
    most = f"at most {told(peak)} in the last {seconds(spell(policy, seen))}"
    return keep(seen, f"{text}, {most}; one less would be more than {FULL:.0%} full")


def why_not_less(policy: Policy, seen: Seen, now: datetime, covered: bool) -> str:
    text = seen.load.words
    if seen.frozen:
        return f"{text} needs less, but “{seen.frozen}” holds: nothing is taken away meanwhile"
    if growth(seen, now) > 0:
        return f"{text} needs less, and it grows: nothing is taken away"
    if not covered:
        wait = seconds(spell(policy, seen))
        return f"{text} needs less; it is not yet seen without a gap for {wait}"
    if seen.changed_at and now - seen.changed_at < policy.pause:
        wait = seconds(seen.changed_at + policy.pause - now)
        return f"{text} needs less; the next step down is in {wait}"
    return ""


def highest(policy: Policy, seen: Seen, now: datetime) -> tuple[float, bool]:
    """The highest load of the window, and whether it was seen without a gap."""
    start = now - spell(policy, seen)
    inside = [s for s in seen.history if s.at >= start]
    before = [s for s in seen.history if s.at < start][-1:]
    moments = [s.at for s in (*before, *inside)] + [now]
    gaps = (late - early for early, late in zip(moments, moments[1:], strict=False))
    covered = bool(before) and all(gap <= GAP for gap in gaps)
    return max([seen.load.total, *(s.demand for s in inside)]), covered


def spell(policy: Policy, seen: Seen) -> timedelta:
    """What takes minutes to come back is not given away after seconds."""
    return max(policy.stable, seen.lag)


def down(policy: Policy, bounds: Bounds, seen: Seen, now: datetime) -> Decision | None:
    peak, _ = highest(policy, seen, now)
    lowest = bounds.clamp(max(ceil(peak / (policy.target * FULL)), seen.floor, 1))
    given = seen.declared - 1
    why = (
        f"{seen.load.words}, at most {told(peak)} in the last {seconds(spell(policy, seen))}: that"
        f" needs {some(lowest, 'replica')}. {seen.declared} → {given}, one at a time"
    )
    return Decision(lowest, given, why)


def some(number: float, what: str) -> str:
    return f"{told(number)} {what}" + ("" if number == 1 else "s")


def told(number: float) -> str:
    """A number for a sentence: 38, 0.4, 1,204."""
    return f"{number:,.0f}" if number >= 10 or number == round(number) else f"{number:.1f}"


CHECKS: tuple[Check, ...] = (
    rollout_open,
    owned,
    unseen,
    above_most,
    up,
    asleep,
    falls_asleep,
    none_answers,
    enough,
    down,
)
