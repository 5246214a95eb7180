"""Latency objectives of a service by traffic class, and the form of a service's limits."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract.outcomes import TrafficClass
from tenants.errors import Invalid

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
FIELDS = ("ttft_ms", "itl_ms", "queue_ms")
DEFAULTS: dict[str, dict[str, int]] = {
    TrafficClass.CRITICAL.value: {"ttft_ms": 1000, "itl_ms": 60, "queue_ms": 2000},
    TrafficClass.INTERACTIVE.value: {"ttft_ms": 2000, "itl_ms": 100, "queue_ms": 5000},
    TrafficClass.BATCH.value: {"ttft_ms": 30_000, "itl_ms": 500, "queue_ms": 60_000},
}
# name -> (least, most)
LIMITS = {
    "replicas": (1, 512),
    "max_model_len": (16, 10_000_000),
    "default_max_tokens": (1, 1_000_000),
    "max_queue": (0, 100_000),
    "request_seconds": (1, 86_400),
    "chunk_seconds": (1, 3_600),
    "prefetch_seconds": (0, 14_400),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """Milliseconds. TTFT and ITL are meant at the 95th percentile of a window."""

    ttft_ms: int
    itl_ms: int
    queue_ms: int


def objective_of(objectives: Mapping[str, Any], traffic_class: str) -> Objective:
    """A class's objective, the defaults where the service names none."""
    default = DEFAULTS.get(traffic_class, DEFAULTS[TrafficClass.INTERACTIVE.value])
    return Objective(**(default | dict(objectives.get(traffic_class, {}))))


def check_name(name: object) -> str:
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    raise Invalid(
        name="Use 1 to 63 small letters, digits and dashes, with a letter or digit at both ends"
    )


def check_objectives(given: object) -> dict[str, dict[str, int]]:
    if not isinstance(given, Mapping):
        raise Invalid(objectives="Give an object: class to ttft_ms, itl_ms, queue_ms")
    known = {c.value for c in TrafficClass}
    found: dict[str, dict[str, int]] = {}
    for traffic_class, values in given.items():
        if traffic_class not in known:
            named = ", ".join(sorted(known))
            raise Invalid(objectives=f"There is no class {traffic_class!r}; classes are {named}")
        found[traffic_class] = _check_values(traffic_class, values)
    return found


def _check_values(traffic_class: str, values: object) -> dict[str, int]:
    if not isinstance(values, Mapping):
        raise Invalid(objectives=f"{traffic_class}: give ttft_ms, itl_ms and queue_ms")
    for key, value in values.items():
        if key not in FIELDS:
            raise Invalid(objectives=f"{traffic_class}: there is no objective {key!r}")
        if not _is_whole(value) or not 1 <= value <= 3_600_000:
            raise Invalid(
                objectives=f"{traffic_class}: {key} is {value!r}; give whole milliseconds,"
                " 1 to 3,600,000"
            )
    return {key: values[key] for key in FIELDS if key in values}


def check_limits(given: Mapping[str, Any]) -> dict[str, int]:
    """The numbers of a service that are in `given`, each inside its bounds."""
    wrong = {}
    for name in LIMITS.keys() & given.keys():
        least, most = LIMITS[name]
        if not _is_whole(given[name]) or not least <= given[name] <= most:
            wrong[name] = f"Give a whole number from {least:,} to {most:,}, not {given[name]!r}"
    if wrong:
        raise Invalid(**wrong)
    return {name: given[name] for name in LIMITS if name in given}


def check_fallbacks(name: str, given: Sequence[str], known: Mapping[str, Sequence[str]]) -> None:
    """Refuse unknown services and circles. `known`: every service's own fallbacks."""
    for other in given:
        if other == name:
            raise Invalid(fallbacks="A service cannot be its own fallback")
        if other not in known:
            raise Invalid(fallbacks=f"There is no service {other!r} to fall back to")
    if len(set(given)) != len(given):
        raise Invalid(fallbacks="A fallback stands twice in the list")
    if circle := _circle(name, {**known, name: given}):
        raise Invalid(fallbacks=f"This would be a circle: {' → '.join(circle)}")


def _circle(start: str, graph: Mapping[str, Sequence[str]]) -> list[str]:
    todo: list[list[str]] = [[start]]
    seen: set[str] = set()
    while todo:
        path = todo.pop()
        for other in graph.get(path[-1], ()):
            if other == start:
                return [*path, other]
            if other not in seen:
                seen.add(other)
                todo.append([*path, other])
    return []


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
