"""When a service with a minimum of 0 goes to sleep, and in which state it is. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.moves import seconds

STARTS = 2  # so many starts it stays awake: who was told to come back must find it so


class State(StrEnum):
    AWAKE = "awake"
    SLEEPING = "sleeping"  # at 0 replicas, until somebody asks
    WAKING = "waking"  # replicas are ordered, none of them answers yet


@dataclass(frozen=True, slots=True)
class Sleep:
    """What people say about it. It means nothing while the minimum is above 0."""

    idle: timedelta = timedelta(minutes=15)  # without a request
    wait: timedelta = timedelta(minutes=5)  # of a request, for the service to wake
    most: int = 64  # requests that may wait, in all gateways


@dataclass(frozen=True, slots=True)
class Quiet:
    """What gateways know of a service's requests."""

    since: datetime | None = None  # of the last request, or of what else counts; None: nothing
    in_flight: int | None = 0  # on their way through gateways; None: not known
    late: str = ""  # why requests of the last time may be missing


def state_of(slept_at: datetime | None, woken_at: datetime | None) -> State:
    if slept_at is None:
        return State.AWAKE
    return State.SLEEPING if woken_at is None else State.WAKING


def refuse_rollout(service: str) -> str:
    """A rollout counts replicas itself, so that no request could wake it until that has ended."""
    return (
        f"{service} sleeps at 0 replicas: wake it first (Scaling, Wake it now), and propose when it"
        " answers. An open rollout keeps it awake"
    )


def idle_of(sleep: Sleep, start: timedelta) -> timedelta:
    """How long nobody may have asked; what takes long to come back is not given away soon."""
    return max(sleep.idle, STARTS * start)


def why_awake(sleep: Sleep, quiet: Quiet, start: timedelta, now: datetime) -> str:
    """Why it does not sleep yet. Empty: nobody has asked for anything long enough."""
    if quiet.in_flight is None:
        return "it is not known whether gateways have requests for it"
    if quiet.in_flight:
        return f"gateways have {some_requests(quiet.in_flight)} for it"
    if quiet.late:
        return quiet.late
    idle = idle_of(sleep, start)
    left = quiet.since + idle - now if quiet.since else timedelta()
    return f"it sleeps in {seconds(left)} if nobody asks" if left > timedelta() else ""


@dataclass(frozen=True, slots=True)
class Rest:
    """A service that sleeps or wakes, as people read of it."""

    slept_at: datetime
    woken_at: datetime | None
    wait: timedelta
    most: int
    waiting: int | None  # requests; None: not known
    start: float | None  # seconds, p95 of measured ones; None: none was measured

    @property
    def words(self) -> str:
        return self._sleeps() if self.woken_at is None else self._wakes(self.woken_at)

    def _sleeps(self) -> str:
        waits = f"and waits for it, {seconds(self.wait)} at most"
        found = f"Sleeps since {self.slept_at:%d %b %H:%M} UTC at 0 replicas and holds no GPU."
        text = f"{found} The first request wakes it {waits}; {self._start()}."
        if self.waiting:
            text += f" {waits_for(self.waiting)}: its first replica is not ordered yet."
        return text

    def _wakes(self, since: datetime) -> str:
        if self.waiting is None:
            rest = "How many requests wait for it is not known"
        else:
            each = f"each {seconds(self.wait)} at most"
            rest = f"{waits_for(self.waiting)} for it, of {self.most} at most, {each}"
        return f"Wakes since {since:%d %b %H:%M:%S} UTC; {self._start()}. {rest}."

    def _start(self) -> str:
        if self.start is None:
            return "what a start takes was never measured"
        return f"a start takes {seconds(timedelta(seconds=self.start))} (p95)"


def too_impatient(wait: timedelta, start: float | None) -> str:
    """Empty: who wakes it is answered, as far as starts were measured."""
    if start is None or start < wait.total_seconds():
        return ""
    return (
        f"A start takes {seconds(timedelta(seconds=start))} (p95), and a request may wait"
        f" {seconds(wait)}: whoever wakes it is told to come back. Let requests wait longer"
    )


def waits_for(requests: int) -> str:
    return f"{some_requests(requests)} wait{'s' if requests == 1 else ''}"


def some_requests(number: int) -> str:
    return "1 request" if number == 1 else f"{number:,} requests"
