"""What placements depend on at a node: its GPU labels, zone and taints, and who changed them. Pure.

Nobody declares a node to us, so what was seen before is what is expected. The console only reads
nodes: the way back is a line for kubectl.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fleet.rules.counts import counted
from fleet.rules.declared import Path, Step, Writer, writer_of
from fleet.rules.release import GPU

ZONE = "topology.kubernetes.io/zone"
LABELS = {"gpu_product": f"{GPU}.product", "clique": f"{GPU}.clique", "zone": ZONE}
LABEL, TAINT = "label", "taint"
# Kubernetes taints what is lost, full or cordoned itself: that is told as the node's state.
ITS_OWN = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})

Taint = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """`name`: a label's key, or KEY:EFFECT of a taint. None: it was, or is, not there."""

    kind: str
    name: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Of one node, by the fields that we keep of it."""
    found = [
        Change(LABEL, key, before[field] or None, after[field] or None)
        for field, key in LABELS.items()
        if before[field] != after[field]
    ]
    then, now = _taints(before["taints"]), _taints(after["taints"])
    found += [
        Change(TAINT, name, then.get(name), now.get(name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    return tuple(found)


def _taints(taints: Sequence[Taint]) -> dict[str, str]:
    return {
        f"{t['key']}:{t.get('effect', '')}": t.get("value", "")
        for t in taints
        if not t["key"].startswith(ITS_OWN)
    }


def author(change: Change, managed: object) -> Writer:
    """Who wrote it last, by `metadata.managedFields`. A label that is gone has no owner there."""
    found = msgspec.json.decode(managed) if isinstance(managed, msgspec.Raw) else managed
    path: Path = (Step("spec"), Step("taints"))
    if change.kind == LABEL:
        path = (Step("metadata"), Step("labels"), Step(change.name))
    return writer_of(found if isinstance(found, list) else [], path)


def line_back(node: str, kind: str, name: str, expected: str | None) -> str:
    """What makes it as it was."""
    if kind == LABEL:
        wish = f"{name}-" if expected is None else f"{name}={expected} --overwrite"
        return f"kubectl label node {node} {_quoted(wish)}"
    key, _, effect = name.rpartition(":")
    wish = f"{name}-" if expected is None else f"{key}={expected}:{effect} --overwrite"
    return f"kubectl taint node {node} {_quoted(wish)}"


def _quoted(words: str) -> str:
    return shlex.join(words.split(" "))


def meaning(kind: str, name: str, expected: str | None, live: str | None, ours: int) -> str:
    """What follows for placements. `ours`: replicas of services that run on the node."""
    run = f"{counted(ours, 'replica')} of ours run{'s' * (ours == 1)} on it"
    if kind == TAINT:
        return _of_taint(name, live, run if ours else "")
    if name == LABELS["gpu_product"]:
        return _of_product(expected, live, run if ours else "")
    what = "fabric clique" if name == LABELS["clique"] else "zone"
    return f"Plans count its {what} as it is now"


def _of_taint(name: str, live: str | None, run: str) -> str:
    key, _, effect = name.rpartition(":")
    if live is None:
        return "Plans count its free GPUs again, if nothing else keeps our pods away"
    if key == GPU or effect not in KEEPS_AWAY:
        return "Our pods are placed here as before"
    if effect == "NoExecute":
        return f"Our pods are evicted, and none is placed here. {run}".strip(". ")
    more = f". {run} and would find no place here once started again" if run else ""
    return f"Plans do not count its GPUs: no pod of ours is placed here{more}"


def _of_product(expected: str | None, live: str | None, run: str) -> str:
    counted = f"Its GPUs count as {live}" if live else "Its GPUs count for no product"
    lost = f" and no longer as {expected}" if expected else ""
    more = f". {run}: a release that names {expected} finds no place here any more" if run else ""
    return f"{counted}{lost}{more}"
