"""Full disks, in the words of schedulers, kubelets, registries and engines. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from fleet.rules.seen import Side

PRESSURE = "DiskPressure"
TAINT = "taint"  # since 1.36 schedulers do not say which one
WORDS = (
    "no space left on device",
    "ephemeral-storage",
    "ephemeral local storage",
    "local ephemeral storage",
    PRESSURE.lower(),
)


class Placed(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def gpu_product(self) -> str: ...
    @property
    def trouble(self) -> str: ...


def about_disk(text: str) -> bool:
    lower = text.lower()
    return any(word in lower for word in WORDS)


def full_ones(nodes: Iterable[Placed], products: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of nodes with a full disk; of these GPU products, or of all where one is unknown."""
    wanted = set(products)
    alike = (n for n in nodes if not wanted or "" in wanted or n.gpu_product in wanted)
    return tuple(sorted(n.name for n in alike if PRESSURE in n.trouble))


def with_nodes(text: str, full: Sequence[str]) -> str:
    """The scheduler counts nodes that it leaves out, and names none."""
    if TAINT not in text or not full:
        return text
    return f"{text.rstrip('. ')}. {PRESSURE} on {', '.join(full)}"


def named(side: Side, full: Sequence[str]) -> Side:
    pods = (replace(p, unschedulable=with_nodes(p.unschedulable, full)) for p in side.pods)
    return replace(side, pods=tuple(pods))


def is_left_out(*sides: Side) -> bool:
    """Whether a pod finds no place for the disk of a node."""
    return any(TAINT in pod.unschedulable for side in sides for pod in side.live)
