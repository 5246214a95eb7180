"""What changes between two releases, and what that means for clients and cost."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fleet.rules import pins
from fleet.rules.groups import line_of
from fleet.rules.meanings import KV_SHAPING, MEANS, SEEN_BY_CLIENTS
from fleet.rules.release import ReleaseSpec
from fleet.rules.vllm_args import number_of, values_of

OF_PARTS = {
    "environment": "Another setting of the engine or of its libraries",
    "roles": "Another group of pods answers; it moves and returns as one",
    **pins.MEANS,
}
SEEN_PARTS = frozenset({"adapters", "data policy"})


@dataclass(frozen=True, slots=True)
class Change:
    part: str  # model, image, arguments, environment, resources, probes, roles
    name: str
    before: str  # empty: was not there
    after: str
    means: str


def compare(old: ReleaseSpec, new: ReleaseSpec) -> list[Change]:
    """All differences, in the order of a release's parts."""
    before, after = pins.parts_of(old.pins), pins.parts_of(new.pins)
    groups: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("model", asdict(old.model), asdict(new.model)),
        ("image", _image(old), _image(new)),
        ("arguments", values_of(old.arguments), values_of(new.arguments)),
        ("environment", old.environment, new.environment),
        ("resources", asdict(old.resources), asdict(new.resources)),
        ("probes", asdict(old.probes), asdict(new.probes)),
        *((part, before[part], after[part]) for part in before),
        ("roles", _roles(old), _roles(new)),
    )
    return [change for group in groups for change in _differences(*group)]


def visible_to_clients(changes: list[Change]) -> list[str]:
    """Sentences about what callers of the service will notice."""
    seen = (c for c in changes if c.name in SEEN_BY_CLIENTS or c.part in SEEN_PARTS)
    return [f"{c.name}: {_measured(c) or c.means}" for c in seen]


def _measured(change: Change) -> str:
    """With numbers, where both releases say theirs."""
    if change.name != "--max-model-len":
        return ""
    if not (change.before.isdigit() and change.after.isdigit()):
        return ""
    before, after = int(change.before), int(change.after)
    if after > before:
        return f"requests may be {after - before:,} tokens longer, {after:,} in all"
    return f"requests of more than {after:,} tokens are refused, {before:,} were answered"


def cost_of(old: ReleaseSpec, new: ReleaseSpec) -> list[str]:
    """Sentences about what a replica costs more or less, and what is not known before."""
    found = []
    before, after = old.gpus, new.gpus
    if before != after and before:
        more = (after - before) / before
        found.append(f"A replica holds {after} GPUs, {before} before: {more:+.0%}")
    if old.products != new.products:
        was, will = (" and ".join(p or "any card" for p in spec.products) for spec in (old, new))
        found.append(f"A replica runs on {will}, before on {was}: another price an hour")
    values = [values_of(spec.arguments) for spec in (old, new)]
    sequences = [number_of(v, "--max-num-seqs", 0) for v in values]
    if all(sequences) and sequences[0] != sequences[1]:
        share = sequences[1] / after / (sequences[0] / before) - 1 if before and after else 0
        found.append(f"{share:+.0%} requests at a time on each GPU at most")
    cached = ["--no-enable-prefix-caching" in v for v in values]
    if cached[0] != cached[1]:
        gone = "no beginning is cached" if cached[1] else "common beginnings are cached"
        found.append(f"{gone[0].upper()}{gone[1:]}: GPU time for the same prompts changes")
    return found


def kv_reasons(changes: list[Change]) -> list[str]:
    """What makes blocks of one release unreadable for the other; empty: caches keep their sense.

    Another build of the engine counts: it may lay blocks out differently without saying so.
    """
    return [
        f"{c.name}: {_short(c.before)} to {_short(c.after)}"
        for c in changes
        if c.name in KV_SHAPING or c.part in ("model", "image", "roles")
    ]


def _short(value: str) -> str:
    """A digest or a document by its beginning: the table has it whole."""
    return f"{value[:19]}…" if len(value) > 24 else value or "not set"


def _roles(spec: ReleaseSpec) -> dict[str, str]:
    return {role.name: line_of(role) for role in spec.roles}


def _image(spec: ReleaseSpec) -> dict[str, str]:
    return {"image": spec.image, "image_digest": spec.image_digest}


def _differences(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        before, after = _text(part, old, name), _text(part, new, name)
        if before != after:
            key = "model" if (part, name) == ("model", "name") else name
            yield Change(part, name, before, after, OF_PARTS.get(part) or MEANS.get(key, ""))


def _text(part: str, values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return ""
    value = str(values[name])
    return "on" if part == "arguments" and not value else value
