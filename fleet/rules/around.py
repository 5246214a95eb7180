"""Objects around what is scaled: as they shall be, and what the cluster has otherwise. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fleet.rules.declared import Difference, differences, missing
from fleet.rules.manifests import SCALED, Manifest, budget, items_of

BUDGET = "PodDisruptionBudget"
RESOURCES = {  # as permissions name them
    "ConfigMap": "configmaps",
    "NetworkPolicy": "networkpolicies",
    BUDGET: "poddisruptionbudgets",
    "Service": "services",
}
KINDS = frozenset(RESOURCES)
Key = tuple[str, str]  # kind, name


def around_of(manifest: Manifest, service: str, *, serves: bool) -> list[Manifest]:
    """Of a placed release its own, and those of its service beside the release that serves."""
    own = [m for m in items_of(manifest) if m["kind"] not in SCALED]
    return own + ([budget(service, manifest["metadata"]["namespace"])] if serves else [])


def key_of(item: Mapping[str, Any]) -> Key:
    return item["kind"], item["metadata"]["name"]


def seen_around(
    declared: Sequence[Manifest],
    live: Mapping[Key, Mapping[str, Any]],
    watched: Collection[str],
    *,
    there: bool,
) -> Iterator[Difference]:
    """`watched`: the kinds that were looked at. `there`: one that is not in the cluster differs."""
    for item in declared:
        kind, name = key_of(item)
        found = live.get((kind, name))
        if kind in watched and found is not None:
            yield from (d.inside(kind, name) for d in differences(item, found))
        elif kind in watched and there:
            yield missing(item).inside(kind, name)


def object_in(path: str) -> Key | None:
    """Which object around a Deployment the text of a path is of."""
    kind, _, rest = path.partition("[")
    return (kind, rest.partition("]")[0]) if kind in KINDS else None
