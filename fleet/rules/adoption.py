"""The release that would declare what somebody wrote into the Deployment of another one. Pure.

What a release says decides what its Deployment has, and not the other way round: so the content is
read from the edits, rendered again, and taken only where that gives exactly these edits.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fleet.rules.declared import Difference, differences
from fleet.rules.manifests import Manifest, deployment
from fleet.rules.pods import CONTAINER, Part, arguments
from fleet.rules.quantity import same
from fleet.rules.release import GPU, ReleaseSpec, digest_of, fingerprint_of
from fleet.rules.vllm_args import normalise, values_of

Edits = Mapping[str, Any]  # path to what is there; None: taken away
POD = "spec.template.spec"
INSIDE = f"{POD}.containers[{CONTAINER}]"
IMAGE, ARGS = f"{INSIDE}.image", f"{INSIDE}.args"
ENV = f"{INSIDE}.env["
LENGTH = "--max-model-len"


def adopted(
    spec: ReleaseSpec, approved: Manifest, edits: Edits, *, running: str, max_model_len: int
) -> ReleaseSpec:
    """Raise ValueError with a sentence where no release is what runs.

    `approved`: its Deployment as it was placed. `running`: the digest of the image that its pods
    have now, where all agree; an edit by tag pins nothing.
    """
    if spec.shape:
        raise ValueError("Its replicas are groups of pods: make that release by hand")

    def made(of: ReleaseSpec) -> Manifest:
        part = Part(of, digest_of(spec))
        return deployment(part, approved["metadata"]["namespace"], max_model_len)

    before = made(spec)
    if found := _between(approved, before):
        raise ValueError(
            f"The console would write {_named(found)} otherwise than when it was placed: make the"
            " release by hand"
        )
    after = _with_edits(spec, edits, running, max_model_len)
    told = _between(before, made(after))
    if strange := {path for path in edits.keys() | told.keys() if not _fits(path, edits, told)}:
        raise ValueError(f"{_named(strange)} is no part of a release as it stands there: repair it")
    return after


def _between(one: Manifest, other: Manifest) -> dict[str, Difference]:
    return {d.text: d for d in differences(one, other)}


def _named(paths: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(paths))


def _fits(path: str, edits: Edits, told: Mapping[str, Difference]) -> bool:
    """An image is pinned on the way, and the order of other flags means nothing."""
    if path not in edits or path not in told:
        return False
    if path == IMAGE:
        return True
    found, wanted = told[path].live, edits[path]
    if path == ARGS:
        return sorted(normalise_all(found)) == sorted(normalise_all(wanted))
    return bool(found == wanted or (found and wanted and same(found, wanted)))


def normalise_all(words: list[str]) -> tuple[str, ...]:
    """The model stands alone before all flags."""
    return (words[0], *normalise(words[1:])) if words else ()


def _with_edits(spec: ReleaseSpec, edits: Edits, running: str, max_model_len: int) -> ReleaseSpec:
    before = spec
    for path, live in edits.items():
        if path == IMAGE:
            spec = _with_image(spec, str(live), running)
        elif path == ARGS:
            spec = replace(spec, arguments=own_arguments(before, live or [], max_model_len))
        elif path.startswith(ENV):
            spec = replace(spec, environment=_with_variable(spec.environment, path, live))
        elif path in RESOURCES and live is not None:
            field, read = RESOURCES[path]
            spec = replace(spec, resources=replace(spec.resources, **{field: read(live)}))
    return spec


RESOURCES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    f"{INSIDE}.resources.limits.{GPU}": ("gpus", int),
    f"{INSIDE}.resources.requests.{GPU}": ("gpus", int),
    f"{INSIDE}.resources.requests.cpu": ("cpu", str),
    f"{INSIDE}.resources.limits.memory": ("memory", str),
    f"{INSIDE}.resources.requests.memory": ("memory", str),
    f"{POD}.nodeSelector.{GPU}.product": ("gpu_product", str),
}


def _with_image(spec: ReleaseSpec, reference: str, running: str) -> ReleaseSpec:
    name, _, digest = reference.partition("@")
    if not (digest or running):
        raise ValueError(
            f"{reference} is a tag, and its replicas do not say yet which image that is:"
            " wait until they run, or give the digest"
        )
    host, slash, rest = name.rpartition("/")
    return replace(
        spec, image=f"{host}{slash}{rest.partition(':')[0]}", image_digest=digest or running
    )


def own_arguments(spec: ReleaseSpec, words: list[str], max_model_len: int) -> tuple[str, ...]:
    """Without those that the console gives each release."""
    given = arguments(replace(spec, arguments=()), max_model_len, fingerprint_of(digest_of(spec)))
    rest = list(words)
    absent = []
    for word in given:
        if word in rest:
            rest.remove(word)
        elif not word.startswith(f"{LENGTH}="):
            absent.append(word)
    if absent:
        raise ValueError(f"{', '.join(absent)} is given to each release: repair the arguments")
    own = normalise(rest)
    if LENGTH in values_of(spec.arguments) and LENGTH not in values_of(own):
        raise ValueError(f"{LENGTH} was taken away, and each release has one: repair the arguments")
    return own


def _with_variable(environment: Mapping[str, str], path: str, live: Any) -> dict[str, str]:
    """The whole of a variable, or its value; where it comes from is not adopted."""
    name, _, field = path.removeprefix(ENV).partition("]")
    left = {key: value for key, value in environment.items() if key != name}
    value = live.get("value", "") if isinstance(live, dict) else live
    if live is None or field not in ("", ".value"):
        return left
    return left | {name: str(value)}
