"""Declared against live, field by field, and who wrote what differs. Pure.

Only what we declare is compared, plus what others added where an addition changes the engine:
defaults that the server fills in are no drift. A field that we wrote last ourselves is no drift
either: it is on its way.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from fleet.rules.manifests import FENCE, MANAGER
from fleet.rules.quantity import same

Json = Mapping[str, Any]
# The key by which the API server tells the items of a list apart.
KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
CLOSED = frozenset(
    {"containers", "initContainers", "env", "volumes", "nodeSelector", "data", "matchLabels"}
    | {"podSelector", "selector"}
)
CLOSED_SPECS = frozenset({"NetworkPolicy", "PodDisruptionBudget"})  # an addition changes them
HEAD = frozenset({"apiVersion", "kind", "metadata", "status"})
QUANTITIES = frozenset({"limits", "requests"})
AUTOSCALERS = frozenset({"kube-controller-manager", "keda-operator"})
REPLICAS = "spec.replicas"
MISSING = "metadata.name"  # the whole object


@dataclass(frozen=True, slots=True)
class Step:
    """Into a field (`key` empty), or into the item of a list whose `key` has the value `name`."""

    name: Any
    key: str = ""


Path = tuple[Step, ...]
PORTS: Path = (Step("spec"), Step("ports"))  # of a Service; all of ours are TCP


@dataclass(frozen=True, slots=True)
class Writer:
    manager: str
    operation: str
    at: datetime | None
    subresource: str = ""


NOBODY = Writer("", "", None)


@dataclass(frozen=True, slots=True)
class Difference:
    path: Path
    declared: Any  # None: not declared
    live: Any  # None: not there
    writer: Writer

    @property
    def text(self) -> str:
        return text_of(self.path)

    @property
    def owned(self) -> bool:
        """An autoscaler's number of replicas is its own."""
        return self.is_replicas and self.writer.manager in AUTOSCALERS

    @property
    def is_replicas(self) -> bool:
        """Of the only Deployment of a release, or of one of its roles."""
        return self.text == REPLICAS or self.text.endswith(f".{REPLICAS}")

    def of(self, role: str) -> "Difference":
        return replace(self, path=(Step(role), *self.path))

    def inside(self, kind: str, name: str) -> "Difference":
        """Of another object than the Deployment: PodDisruptionBudget[chat].spec.selector"""
        return replace(self, path=(Step(kind), Step(name, "name"), *self.path))


def text_of(path: Path) -> str:
    return "".join(f"[{s.name}]" if s.key else f".{s.name}" for s in path).lstrip(".")


def differences(declared: Json, live: Json) -> tuple[Difference, ...]:
    """`declared` is the whole manifest as it should be placed."""
    managed = live["metadata"].get("managedFields") or []
    found = []
    for path, ours, theirs in (*_walk((), _compared(declared), live), *_more(declared, live)):
        writer = writer_of(managed, path)
        if writer.manager != MANAGER:
            found.append(Difference(path, ours, theirs, writer))
    return tuple(found)


def as_live(declared: Json, live: Json) -> dict[str, Any]:
    """`declared` with what others wrote into its fields, to scale what they changed and no more.

    Their values are shared then, and nobody loses a field; what they added stays theirs.
    """
    made = copy.deepcopy(dict(declared))
    for found in differences(declared, live):
        if found.declared is not None and not found.is_replicas:
            _put(made, found.path, found.live)
    return made


def _put(item: Any, path: Path, value: Any) -> None:
    *inside, last = path
    for step in inside:
        item = _at(item, step)
    if last.key:
        item[:] = [one for one in item if one.get(last.key) != last.name]
        item += [value] if value is not None else []
    elif value is None:
        item.pop(last.name, None)
    else:
        item[last.name] = value


def _at(item: Any, step: Step) -> Any:
    if not step.key:
        return item[step.name]
    return next(one for one in item if one.get(step.key) == step.name)


def lines_between(declared: Any, live: Any) -> tuple[str, ...]:
    """Of lists and texts of several lines, what went (-) and what came (+). Empty: of others."""
    one, other = _lines(declared), _lines(live)
    if one is None or other is None:
        return ()
    found: list[str] = []
    for kind, first, last, start, end in SequenceMatcher(None, one, other).get_opcodes():
        if kind != "equal":
            found += [f"- {line}" for line in one[first:last]]
            found += [f"+ {line}" for line in other[start:end]]
    return tuple(found)


def _lines(value: Any) -> list[str] | None:
    if isinstance(value, str) and "\n" in value:
        return value.splitlines()
    if not isinstance(value, list):
        return None
    return [v if isinstance(v, str) else json.dumps(v, sort_keys=True) for v in value]


def missing(declared: Json) -> Difference:
    """The object is not there: nobody can say who deleted it."""
    return Difference((Step("metadata"), Step("name")), declared["metadata"]["name"], None, NOBODY)


def _compared(declared: Json) -> dict[str, Any]:
    meta = declared["metadata"]
    notes = {k: v for k, v in meta.get("annotations", {}).items() if k != FENCE}
    return {
        "metadata": {"labels": meta.get("labels", {}), "annotations": notes},
    } | {name: value for name, value in declared.items() if name not in HEAD}


Found = Iterator[tuple[Path, Any, Any]]


def _more(declared: Json, live: Json) -> Found:
    """What others added to a spec that has no room for additions."""
    if declared["kind"] in CLOSED_SPECS:
        for name in live["spec"].keys() - declared["spec"].keys():
            yield (Step("spec"), Step(name)), None, live["spec"][name]


def _walk(path: Path, ours: Any, theirs: Any) -> Found:
    if ours == theirs:  # most of it: not walked
        return
    name = path[-1].name if path else ""
    if isinstance(ours, dict):
        yield from _fields(path, ours, theirs if isinstance(theirs, dict) else {})
    elif name in KEYS and isinstance(ours, Sequence):
        key = "port" if path == PORTS else KEYS[name]
        yield from _items(path, key, ours, theirs or [])
    elif len(path) > 1 and path[-2].name in QUANTITIES and theirs is not None:
        if not same(ours, theirs):
            yield path, ours, theirs
    elif ours or theirs:  # the server leaves empty values out
        yield path, ours, theirs


def _fields(path: Path, ours: Json, theirs: Json) -> Found:
    for name, value in ours.items():
        yield from _walk((*path, Step(name)), value, theirs.get(name))
    if path and path[-1].name in CLOSED:
        for name in theirs.keys() - ours.keys():
            yield (*path, Step(name)), None, theirs[name]
    if path and "containers" in ours and theirs.get("initContainers"):
        yield from _items((*path, Step("initContainers")), "name", [], theirs["initContainers"])


def _items(path: Path, key: str, ours: Sequence[Json], theirs: Sequence[Json]) -> Found:
    live = {item.get(key): item for item in theirs}
    for item in ours:
        here = (*path, Step(item[key], key))
        if item[key] in live:
            yield from _walk(here, item, live.pop(item[key]))
        else:
            yield here, item, None
            live.pop(item[key], None)
    if path[-1].name in CLOSED or path == PORTS:
        for name, item in live.items():
            yield (*path, Step(name, key)), None, item


def writer_of(managed: Sequence[Json], path: Path) -> Writer:
    """Who wrote the field last, as `metadata.managedFields` says; ours only if nobody else did."""
    writers = [
        Writer(
            entry.get("manager", ""),
            entry.get("operation", ""),
            datetime.fromisoformat(entry["time"]) if "time" in entry else None,
            entry.get("subresource", ""),
        )
        for entry in managed
        if entry.get("subresource") != "status" and owns(entry.get("fieldsV1") or {}, path)
    ]
    others = [w for w in writers if w.manager != MANAGER] or writers
    return max(others, key=lambda w: w.at.timestamp() if w.at else 0.0, default=NOBODY)


def owns(fields: Json, path: Path) -> bool:
    """A leaf above the path owns all below it: lists like `args` are one value."""
    here = fields
    for step in path:
        found = here.get(_key(step))
        if found is None:
            return False
        if not found:
            return True
        here = found
    return True


def _key(step: Step) -> str:
    if not step.key:
        return f"f:{step.name}"
    more = {"protocol": "TCP"} if step.key == "port" else {}
    return "k:" + json.dumps({step.key: step.name} | more, separators=(",", ":"))


def released(managed: Sequence[Json], path: Path) -> list[dict[str, Any]]:
    """`managedFields` in which nobody but us owns the field: a person gave its value to us."""
    kept = []
    for entry in managed:
        if entry.get("manager") == MANAGER or not owns(entry.get("fieldsV1") or {}, path):
            kept.append(dict(entry))
            continue
        fields = _without(entry["fieldsV1"], path)
        if fields:
            kept.append({**entry, "fieldsV1": fields})
    return kept


def _without(fields: Json, path: Path) -> dict[str, Any]:
    first, rest = _key(path[0]), path[1:]
    left = {k: v for k, v in fields.items() if k != first}
    below = _without(fields[first], rest) if rest and fields.get(first) else {}
    return {**left, first: below} if below else left


def removal(paths: Sequence[Path]) -> dict[str, Any]:
    """A strategic merge patch that takes away what others added."""
    patch: dict[str, Any] = {}
    for path in paths:
        _remove(patch, path)
    return patch


def _remove(patch: dict[str, Any], path: Path) -> None:
    here: dict[str, Any] = patch
    for index, step in enumerate(path):
        last = index == len(path) - 1
        if index + 1 < len(path) and path[index + 1].key:
            item = path[index + 1]
            items = here.setdefault(step.name, [])
            found = next((i for i in items if i.get(item.key) == item.name), None)
            if found is None:
                found = {item.key: item.name}
                items.append(found)
            if index + 1 == len(path) - 1:
                found["$patch"] = "delete"
            here = found
        elif not step.key and last:
            here[step.name] = None
        elif not step.key:
            here = here.setdefault(step.name, {})
