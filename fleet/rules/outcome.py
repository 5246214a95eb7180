"""A plan against what happened: which promises were kept. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleet.rules.counts import counted
from fleet.rules.surge_cost import SurgeCost

HOUR = 3600
SLACK = 1.1  # a tenth longer than expected is as expected


class Kept(StrEnum):
    KEPT = "kept"
    MISSED = "missed"
    OPEN = "open"  # it is not over, or it did not come to that
    UNKNOWN = "unknown"  # nothing was promised: a number was missing then


@dataclass(frozen=True, slots=True)
class Happened:
    """Figures of one rollout. None: not over, or it did not come to that."""

    seconds: float | None = None  # from the first write to the end of a rollout that succeeded
    most_gpus: int | None = None
    least_serving: int | None = None
    starts: int = 0
    slowest_start: float | None = None
    traffic_back: float | None = None  # seconds from the decision to go back
    full_back: float | None = None
    late: bool = False  # it went back after everything had moved
    spent: SurgeCost | None = None  # None: no price was kept, or it is not for this viewer
    over: bool = False
    gpu_hours: float | None = None  # on top of what served before; None: nothing was measured
    warm_starts: int = 0  # with the image on the node
    cold_starts: int = 0  # and without it


@dataclass(frozen=True, slots=True)
class Comparison:
    name: str
    unit: str  # seconds, GPUs, GPU hours, replicas, or a currency
    planned: float | None
    actual: float | None
    verdict: Kept
    text: str


def compare(plan: Mapping[str, Any], found: Happened) -> tuple[Comparison, ...]:
    """`plan` is what a rollout keeps: plan, numbers, starts. An older one knows fewer numbers."""
    promised, starts = plan.get("plan", {}), plan.get("starts", {})
    full = "late_back_seconds" if found.late else "full_back_seconds"
    return (
        at_most("Until finished", "seconds", promised.get("finish_seconds"), found.seconds),
        at_most("GPUs at the peak", "GPUs", peak(plan), found.most_gpus, slack=1),
        gpu_time(promised.get("gpu_seconds_on_top"), found),
        at_least("Minimum capacity", promised.get("min_replicas"), found.least_serving),
        at_most(
            "Cold start", "seconds", starts.get("p95"), found.slowest_start, starts_seen(found)
        ),
        at_most(
            "Traffic back", "seconds", promised.get("traffic_back_seconds"), found.traffic_back
        ),
        at_most("Full capacity back", "seconds", promised.get(full), found.full_back),
        *([cost_on_top(found.spent, over=found.over)] if found.spent else []),
    )


def starts_seen(found: Happened) -> str:
    if not found.starts:
        return ""
    kinds = (found.warm_starts, "with the image there"), (found.cold_starts, "without it")
    told = [f"{n} {words}" for n, words in kinds if n]
    return ", ".join([f"{counted(found.starts, 'start')} seen", *told])


def gpu_time(planned: float | None, found: Happened) -> Comparison:
    """What was held is known when it is over."""
    hours = None if planned is None else planned / HOUR
    if found.over or found.gpu_hours is None:
        return at_most("GPU hours on top", "GPU hours", hours, found.gpu_hours)
    said = f"{found.gpu_hours:.2f} GPU hours so far"
    return at_most("GPU hours on top", "GPU hours", hours, None, said)


def cost_on_top(cost: SurgeCost, *, over: bool) -> Comparison:
    """Its unit is the currency. What it cost is known when it is over."""
    planned = None if cost.planned is None else float(cost.planned)
    said = "" if over else f"{cost.spent:.2f} {cost.currency} so far"
    return at_most("Cost on top", cost.currency, planned, float(cost.spent) if over else None, said)


def peak(plan: Mapping[str, Any]) -> float | None:
    n = plan.get("numbers", {})
    if "gpus_old" not in n or "gpus_on_top" not in plan.get("plan", {}):
        return None
    return float(n["old_replicas"] * n["gpus_old"] + plan["plan"]["gpus_on_top"])


def at_most(
    name: str,
    unit: str,
    planned: float | None,
    actual: float | None,
    text: str = "",
    *,
    slack: float = SLACK,
) -> Comparison:
    kept = None if planned is None or actual is None else actual <= planned * slack
    return Comparison(name, unit, planned, actual, verdict(planned, actual, kept), text)


def at_least(name: str, planned: float | None, actual: float | None) -> Comparison:
    kept = None if planned is None or actual is None else actual >= planned
    return Comparison(name, "replicas", planned, actual, verdict(planned, actual, kept), "")


def verdict(planned: float | None, actual: float | None, kept: bool | None) -> Kept:
    if actual is None:
        return Kept.OPEN
    if planned is None or kept is None:
        return Kept.UNKNOWN
    return Kept.KEPT if kept else Kept.MISSED
