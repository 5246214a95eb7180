"""Pods of an engine in one place, alone there: a fabric clique, or nodes with one label. Pure.

The controller of LeaderWorkerSet keeps it: its webhook makes affinities from an annotation, so that
one group, or one part of a group, has a place for itself. StatefulSets have nothing like it.
"""

import re
from collections.abc import Iterator

from fleet.rules.node_labels import LABELS
from fleet.rules.release import ReleaseSpec, Resources

CLIQUE = LABELS["clique"]
LABEL = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")


def together(resources: Resources) -> int:
    """Pods that must be in one place of the topology; 0: it is all the same."""
    if not resources.topology:
        return 0
    return resources.subgroup_size or resources.group_size


def refuse_topology(r: Resources) -> Iterator[str]:
    """Pods of an engine in one place: a fabric clique, or any group of nodes with one label."""
    if not (r.topology or r.subgroup_size):
        return
    if not r.topology:
        yield f"subgroup_size {r.subgroup_size}: say by which label of nodes (topology), too"
    elif not LABEL.fullmatch(r.topology):
        yield f"topology: {r.topology!r} is not a label of nodes such as {CLIQUE}"
    if r.group_size == 1:
        yield "topology: an engine of one pod is on one node anyway. It is for group_size above 1"
    elif r.subgroup_size and (r.subgroup_size >= r.group_size or r.group_size % r.subgroup_size):
        yield (
            f"subgroup_size {r.subgroup_size}: a group of {r.group_size} pods is not divided into"
            " equal parts by it"
        )


def refuse_clique(r: Resources, largest_node: int | None, largest_clique: int) -> Iterator[str]:
    """GPUs of the largest node, None: not observed, and of the largest fabric clique."""
    need = together(r) * r.gpus
    if r.topology == CLIQUE and largest_node is not None and need > largest_clique:
        yield (
            f"{together(r)} pods of {r.gpus} GPUs have to be in one fabric clique: {need} GPUs, the"
            f" largest has {largest_clique}"
        )


def refuse_placement(spec: ReleaseSpec, sets: str) -> str:
    """Why a cluster cannot keep it. `sets`: the version of LeaderWorkerSet that it has."""
    wanted = {part.resources.topology for _, _, part in spec.parts} - {""}
    if not wanted or sets:
        return ""
    return (
        f"Pods of an engine have to be together by {', '.join(sorted(wanted))}: the cluster has no"
        " LeaderWorkerSet, which keeps that"
    )
