"""The release that would declare what somebody wrote into the objects of another one. Pure.

What a release says decides what its Deployments have, and not the other way round: so the content
is read from the edits, rendered again, and taken only where that gives exactly these edits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fleet.rules.declared import Difference, differences
from fleet.rules.manifests import ROLE, Manifest, deployment, deployments_of, parts_of
from fleet.rules.members import LEADER_WORKER_SET
from fleet.rules.pod_templates import ARGS, IMAGE, Edits, Template, templates_of
from fleet.rules.quantity import same
from fleet.rules.release import ReleaseSpec, digest_of
from fleet.rules.vllm_args import normalise, values_of

T = TypeVar("T")


def adopted(
    spec: ReleaseSpec, approved: Manifest, edits: Edits, *, running: str, max_model_len: int
) -> ReleaseSpec:
    """Raise ValueError with a sentence where no release is what runs.

    `approved`: what is scaled of it, as it was placed. `running`: the digest of the image that its
    pods have now, where all agree; an edit by tag pins nothing.
    """
    placed = deployments_of(approved)
    space, sets, digest = placed[0]["metadata"]["namespace"], sets_of(placed), digest_of(spec)

    def made(of: ReleaseSpec) -> list[Manifest]:
        parts = [replace(part, digest=digest) for part in parts_of(of, sets)]
        return [deployment(part, space, max_model_len) for part in parts]

    before = made(spec)
    if found := _between(placed, before):
        raise ValueError(
            f"The console would write {_named(found)} otherwise than when it was placed: make the"
            " release by hand"
        )
    templates = templates_of(parts_of(spec, sets), edits, max_model_len)
    after = _with_edits(spec, templates, running)
    told = _between(before, made(after))
    if strange := {path for path in edits.keys() | told.keys() if not _fits(path, edits, told)}:
        raise ValueError(f"{_named(strange)} is no part of a release as it stands there: repair it")
    return after


def sets_of(placed: Sequence[Manifest]) -> str:
    """The version of LeaderWorkerSet that it was placed with."""
    found = (m["apiVersion"] for m in placed if m["kind"] == LEADER_WORKER_SET)
    return str(next(found, "")).rpartition("/")[2]


def _between(ones: Sequence[Manifest], others: Sequence[Manifest]) -> dict[str, Difference]:
    """By path, as drift has it: with the role before it where there are several."""
    found: dict[str, Difference] = {}
    for one, other in zip(ones, others, strict=True):
        role = one["metadata"]["labels"][ROLE] if len(ones) > 1 else ""
        told = differences(one, other)
        found |= {d.text: d for d in (d.of(role) if role else d for d in told)}
    return found


def _named(paths: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(paths))


def _fits(path: str, edits: Edits, told: Mapping[str, Difference]) -> bool:
    """An image is pinned on the way, and the order of other flags means nothing."""
    if path not in told:
        return False
    found, wanted = told[path].live, edits.get(path, told[path].declared)
    if path.endswith(f".{ARGS}"):
        one, other = normalise_all(found), normalise_all(wanted)
        return sorted(one) == sorted(other) and values_of(one[1:]) == values_of(other[1:])
    if path not in edits:
        return False
    alike = found == wanted or (found and wanted and same(found, wanted))
    return bool(path.endswith(f".{IMAGE}") or alike)


def normalise_all(words: list[str]) -> tuple[str, ...]:
    """The model stands alone before all flags."""
    return (words[0], *normalise(words[1:])) if words else ()


def _with_edits(spec: ReleaseSpec, templates: Sequence[Template], running: str) -> ReleaseSpec:
    image = in_all(templates, lambda t: t.image(running), ONE_IMAGE)
    environment = in_all(templates, lambda t: t.environment(spec.environment), ONE_ENVIRONMENT)
    arguments = of_roles(templates, Template.arguments)
    resources = of_roles(templates, Template.resources)
    spec = replace(spec, image=image[0], image_digest=image[1], environment=environment)
    if not spec.roles:
        (own,), (changed,) = arguments.values(), resources.values()
        return replace(spec, arguments=own, resources=replace(spec.resources, **changed))
    common = shared(spec, list(arguments.values()))
    roles = tuple(
        replace(
            role,
            arguments=without(arguments[role.name], common),
            resources=own_resources(spec, {**role.resources, **resources[role.name]}),
        )
        for role in spec.roles
    )
    return replace(spec, arguments=common, roles=roles)


def own_resources(spec: ReleaseSpec, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a role has instead of what its release has."""
    return {name: v for name, v in wanted.items() if v != getattr(spec.resources, name)}


def shared(spec: ReleaseSpec, roles: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Arguments that are the release's: those of before that all its roles still have, and what
    was added to all. None, where one that comes first would lose against another: the last wins.
    """
    their_own = {word for role in spec.roles for word in role.arguments}
    added = [word for word in roles[0] if word not in {*spec.arguments, *their_own}]
    for wanted in ((*spec.arguments, *added), spec.arguments):
        common = in_each(wanted, roles)
        if all(values_of((*common, *without(o, common))) == values_of(o) for o in roles):
            return common
    return ()


def in_each(words: Iterable[str], roles: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    left = [Counter(own) for own in roles]
    common = []
    for word in words:
        if all(own[word] for own in left):
            common.append(word)
            for own in left:
                own[word] -= 1
    return tuple(common)


def without(words: Sequence[str], common: Sequence[str]) -> tuple[str, ...]:
    left = list(words)
    for word in common:
        left.remove(word)
    return tuple(left)


REPAIR = "write it into both, or repair it"
ONE_IMAGE = (
    "{here} would run another build of the engine than {there}, which may lay KV blocks out"
    f" otherwise without saying so, and a release is one KV domain: {REPAIR}"
)
ONE_ENVIRONMENT = (
    "{here} would have another environment than {there}, and a release gives all its pods the same"
    f" one: {REPAIR}"
)
ONE_ENGINE = (
    "{here} would have other content than {there}, and pods that are one engine have the same:"
    f" {REPAIR}"
)


def in_all(templates: Sequence[Template], read: Callable[[Template], T], sentence: str) -> T:
    """What every template says. Raise ValueError with the sentence where one says otherwise."""
    first, *others = templates
    value = read(first)
    for other in others:
        if read(other) != value:
            edited = read(other) != read(replace(other, edits={}))
            here, there = (other, first) if edited else (first, other)
            told = ONE_ENGINE if here.part_of == there.part_of else sentence
            raise ValueError(told.format(here=here.name, there=there.name))
    return value


def of_roles(templates: Sequence[Template], read: Callable[[Template], T]) -> dict[str, T]:
    """The same of the pods of each role, which are one engine where there are several kinds."""
    roles = dict.fromkeys(t.part_of for t in templates)
    return {
        role: in_all([t for t in templates if t.part_of == role], read, ONE_ENGINE)
        for role in roles
    }
