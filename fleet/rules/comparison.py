"""What two releases answered in the same window, cut so that like is compared with like.

A cell is one tenant, one class and one minute: a stall of the whole machine then hits both sides
of a cell, and a tenant with long prompts is compared with itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow, summed

BLOCK_SECONDS = 60
MOST_BLOCKS = 30  # of a window that stays open for hours


@dataclass(frozen=True, slots=True)
class Cell:
    canary: ReleaseWindow
    stable: ReleaseWindow
    tenant_id: int = 0
    traffic_class: str = ""
    application_id: int = 0  # one that goes first; 0: all others of the tenant


@dataclass(frozen=True, slots=True)
class Preemptions:
    """Counted by the engines. None: they said nothing. `of`: requests that they answered, those
    included that a gate leaves out.
    """

    canary: int | None = None
    stable: int | None = None
    of: tuple[int, int] | None = None
    tables: Sequence[Table] = ()  # minutes of engines: those with preemptions, and all


@dataclass(frozen=True, slots=True)
class Held:
    """Tokens that engines made, and the GPU-seconds that their pods held."""

    tokens: int = 0
    gpu_seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        return self.tokens / self.gpu_seconds if self.gpu_seconds else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Requests for adapters that only one of the two releases has: nothing is like them."""

    adapters: Sequence[str]
    canary: int
    stable: int

    def told(self) -> str:
        parts = [f"{n:,} of {side}" for n, side in self.sides if n]
        return f"Requests for {', '.join(self.adapters)} are not compared: {' and '.join(parts)}"

    @property
    def sides(self) -> tuple[tuple[int, str], ...]:
        return (self.canary, "the canary"), (self.stable, "stable")


@dataclass(frozen=True, slots=True)
class Window:
    """What both releases answered between `start` and `end` to those who take part."""

    start: datetime
    end: datetime
    canary: ReleaseWindow
    stable: ReleaseWindow
    cells: Sequence[Cell] = ()  # empty: everything is one
    names: Mapping[int, str] = field(default_factory=dict)  # of tenants
    applications: Mapping[int, str] = field(default_factory=dict)  # that go first: acme/chat
    preemptions: Preemptions = Preemptions()
    held: tuple[Held, Held] = (Held(), Held())  # canary, stable
    sources: Sequence[str] = ()  # the queries, for who doubts it
    late: str = ""  # why the figures cannot be trusted now
    apart: LeftOut | None = None

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that are judged together. The empty name is all of them."""

    name: str
    cells: Sequence[Cell]
    canary: ReleaseWindow
    stable: ReleaseWindow

    def tables(self, count: Callable[[ReleaseWindow], tuple[int, int]]) -> list[Table]:
        return [Table(*count(c.canary), *count(c.stable)) for c in self.cells]


def block_seconds(start: datetime, end: datetime) -> int:
    """How long one cell is: a minute, longer where there would be too many."""
    minutes = (end - start).total_seconds() / MOST_BLOCKS / BLOCK_SECONDS
    return BLOCK_SECONDS * max(int(minutes) + 1, 1)


def groups_of(window: Window) -> list[Group]:
    """All, then each class and each tenant where there is more than one, and each application
    that goes first where there are others.
    """
    cells = window.cells or (Cell(window.canary, window.stable),)
    found = [Group("", cells, window.canary, window.stable)]
    classes = sorted({c.traffic_class for c in cells if c.traffic_class})
    tenants = sorted({c.tenant_id for c in cells if c.tenant_id})
    if len(classes) > 1:
        found += [group(f"class {k}", [c for c in cells if c.traffic_class == k]) for k in classes]
    if len(tenants) > 1:
        found += [
            group(f"tenant {window.names.get(k, k)}", [c for c in cells if c.tenant_id == k])
            for k in tenants
        ]
    for k, name in sorted(window.applications.items(), key=lambda one: one[1]):
        own = [c for c in cells if c.application_id == k]
        if 0 < len(own) < len(cells):
            found.append(group(f"application {name}", own))
    return found


def group(name: str, cells: Sequence[Cell]) -> Group:
    canary, stable = summed(c.canary for c in cells), summed(c.stable for c in cells)
    return Group(name, cells, canary, stable)


def judged(window: ReleaseWindow) -> int:
    """Requests that say something about the release: refused and left ones do not."""
    return window.answered + failures(window)


def failures(window: ReleaseWindow) -> int:
    return window.outcomes.get("failed", 0) + window.outcomes.get("timed_out", 0)
