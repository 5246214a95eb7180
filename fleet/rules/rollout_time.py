"""GPUs that a service holds on top of what it had before its rollout. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from fleet.rules.observation import SeenNode, SeenPod

ENDED = {"Succeeded", "Failed"}
LONGEST = timedelta(seconds=30)  # between looks; nobody saw what happened in a longer gap
HOUR, MS = timedelta(hours=1), timedelta(milliseconds=1)


def seen_hours(before: datetime | None, now: datetime) -> list[tuple[datetime, int]]:
    """The time since the look before, cut at full hours: each with its milliseconds."""
    if before is None or not timedelta() < now - before <= LONGEST:
        return []
    hour = now.replace(minute=0, second=0, microsecond=0)
    if before >= hour:
        return [(hour, (now - before) // MS)]
    return [(hour - HOUR, (hour - before) // MS), (hour, (now - hour) // MS)]


def held_by(service: str, nodes: Iterable[SeenNode], pods: Iterable[SeenPod]) -> dict[str, int]:
    """GPUs by product of the service's pods, whatever they do there: loading ones cost as much."""
    products = {node.name: node.gpu_product or "unknown" for node in nodes}
    found: dict[str, int] = {}
    for pod in pods:
        if pod.service == service and pod.node in products and pod.phase not in ENDED and pod.gpus:
            product = products[pod.node]
            found[product] = found.get(product, 0) + pod.gpus
    return found


def on_top(held: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """`before` by product; what had no product of its own ("") is taken off whatever is held."""
    found = {product: max(0, gpus - before.get(product, 0)) for product, gpus in held.items()}
    anywhere = before.get("", 0)
    for product in sorted(found):
        less = min(found[product], anywhere)
        found[product] -= less
        anywhere -= less
    return {product: gpus for product, gpus in found.items() if gpus}
