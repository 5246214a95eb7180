"""What the audit keeps of a rollout's objects: digests and numbers before and after. Pure."""

from collections.abc import Mapping
from typing import Any

from fleet.rules.manifests import SCALED, Manifest, items_of
from fleet.rules.release import digest_json
from fleet.rules.state import KEEP, Place, Seen, State, Want

Objects = dict[str, dict[str, Any]]


def objects_before(state: State, manifests: Mapping[str, Manifest]) -> Objects:
    """When the rollout began: the old release alone."""
    old = manifests.get("old")
    return described(old, state.old_replicas, 100) if state.has_old and old else {}


def objects_now(
    state: State, seen: Seen, want: Want | None, manifests: Mapping[str, Manifest]
) -> Objects:
    """After this pass, as declared. What is deleted or was never made is absent."""
    found: Objects = {}
    for which, side, replicas, weight, place in (
        ("old", seen.old, state.declared_old, state.weight_old, want.old if want else None),
        ("new", seen.new, state.declared_new, state.weight_new, want.new if want else None),
    ):
        manifest = manifests.get(which)
        there = wanted(place, replicas, exists=side.exists)
        if manifest and there is not None:
            found |= described(manifest, there, place.weight if place else weight)
    return found


def wanted(place: Place | None, declared: int, *, exists: bool) -> int | None:
    """Replicas; None: nothing of it is there any more."""
    if place is None or place.replicas == KEEP:
        return declared if exists or declared else None
    return place.replicas


def described(manifest: Manifest, replicas: int, weight: int) -> Objects:
    """By kind and name. The digest is of the manifest without what each write puts into it."""
    numbers = {"replicas": replicas, "weight": weight}
    return {
        f"{item['kind']}/{item['metadata']['name']}": {"sha256": digest_json(item)}
        | (numbers if item["kind"] in SCALED else {})
        for item in items_of(manifest)
    }
