"""Resolve a tag or a branch once, when a person asks, and keep what was answered.

Asking comes first and outside any transaction (`ask_...`); the doors then open the viewer's scope
and keep it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from fleet.actions.signatures import Evidence, Trust, checked, evidence_from
from fleet.clients.errors import ClientError, Permanent
from fleet.clients.fetch import Fetch
from fleet.clients.model_hub import ModelHub, Revision
from fleet.clients.oci_model import OciModels
from fleet.clients.registry import Registry
from fleet.models import Resolution
from fleet.rules.artifacts import (
    Part,
    code_digest,
    code_of,
    config_of,
    template_of,
    tokenizer_digest,
)
from fleet.rules.model_shape import read_shape
from fleet.rules.reference import ImageReference, read_model, read_reference
from fleet.rules.signature import IMAGES, MODELS
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, ConsoleError, Invalid, NotFound, Unavailable
from tenants.rules.access import Permission, Viewer

HEAD = "main"  # of repositories that a model points to without a branch


@dataclass(frozen=True, slots=True)
class Answered:
    """What a registry or a model repository said, not kept yet."""

    kind: str
    name: str
    label: str
    pinned: str
    answer: Mapping[str, Any]
    signature: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    shape: Mapping[str, int] | None = None
    parts: tuple[Part, ...] = ()
    licence: str = ""


def ask_image(viewer: Viewer, reference: str) -> Answered:
    """Ask the registry what `registry/repository:tag` is. Call it in no transaction."""
    viewer.require(Permission.PROPOSE)
    try:
        wanted = read_reference(reference)
    except ValueError as error:
        raise Invalid(image=str(error)) from error
    if wanted.registry not in settings.QM_REGISTRIES:
        known = ", ".join(settings.QM_REGISTRIES) or "none"
        raise Invalid(
            image=f"{wanted.registry} is no registry that this console may ask ({known}): an"
            " operator adds it to QM_REGISTRIES, or give the digest by hand"
        )
    fetch = Fetch(settings.QM_REGISTRIES.values(), "QM_REGISTRIES")
    try:
        return asked(wanted, fetch)
    except ClientError as error:
        raise refusal_of(error, "image") from error
    finally:
        fetch.close()


def asked(wanted: ImageReference, fetch: Fetch) -> Answered:
    registry = registry_of(wanted.registry, fetch)
    found = registry.resolve(wanted)
    evidence = evidence_of(registry, wanted.path, found.digest, Trust.of(IMAGES))
    return Answered(
        kind=Resolution.IMAGE,
        name=wanted.repository,
        label=wanted.tag,
        pinned=found.digest,
        answer=found.answer,
        signature=checked(evidence, Trust.of(IMAGES), timezone.now().date()).as_json(),
        evidence=evidence.as_json(),
    )


def registry_of(name: str, fetch: Fetch) -> Registry:
    credential = settings.QM_REGISTRY_CREDENTIALS.get(name, "")
    return Registry(settings.QM_REGISTRIES[name], name, fetch, credential)


def evidence_of(registry: Registry, path: str, digest: str, trust: Trust) -> Evidence:
    """The signatures of a digest; only those that can be checked are fetched."""
    return Evidence(
        digest=digest,
        payloads=tuple(registry.signatures(path, digest)) if trust.keys else None,
        bundles=tuple(registry.bundles(path, digest)) if trust.root else None,
        asked=trust.checks,
    )


def ask_model(viewer: Viewer, name: str, revision: str, tokenizer: str = "") -> Answered:
    """Ask which commit a branch or tag is, and what lies there. Call it in no transaction.

    A name that begins with a registry is an artifact there. `tokenizer`: repository[@branch] of a
    tokenizer that is not the model's own.
    """
    viewer.require(Permission.PROPOSE)
    in_registry = name.strip().partition("/")[0] in settings.QM_REGISTRIES
    known = [*settings.QM_REGISTRIES.values(), settings.QM_MODEL_HUB]
    fetch = Fetch(filter(None, known), "QM_MODEL_HUB or QM_REGISTRIES")
    try:
        if in_registry:
            return _ask_artifact(f"{name.strip()}:{revision.strip()}", fetch)
        return _ask_hub(*_named(name, revision), tokenizer.strip(), fetch)
    except ValueError as error:
        raise Invalid(commit=str(error)) from error
    except ClientError as error:
        raise refusal_of(error, "commit") from error
    finally:
        fetch.close()


def _named(name: str, revision: str) -> tuple[str, str]:
    found = read_model(name, revision)
    if not settings.QM_MODEL_HUB:
        raise ValueError(
            "This console asks no model repository (QM_MODEL_HUB): give the 40-hex commit"
        )
    return found


def _ask_hub(name: str, revision: str, tokenizer: str, fetch: Fetch) -> Answered:
    hub = ModelHub(settings.QM_MODEL_HUB, fetch, settings.QM_MODEL_HUB_TOKEN)
    found = hub.resolve(name, revision)
    contents = hub.contents(name, found.commit, found.files)
    parts = list(_parts(name, found, contents))
    if tokenizer and tokenizer.partition("@")[0] != name:
        other, _, branch = tokenizer.partition("@")
        parts[0] = _elsewhere(hub, "tokenizer", *read_model(other, branch or HEAD))
    if (code := code_of(contents, name)) and code != name:
        parts.append(_elsewhere(hub, "code", code, HEAD))
    label, evidence = "" if revision == found.commit else revision, Evidence(asked=False)
    if Trust.of(MODELS).checks:
        evidence = Evidence(own=hub.signed(name, found.commit, found.files))
    return _answered(name, label, found, contents, parts, evidence)


def _elsewhere(hub: ModelHub, part: str, name: str, branch: str) -> Part:
    """A part that lies in a repository of its own, pinned by that one's commit."""
    found = hub.resolve(name, branch)
    digest, files = {"tokenizer": tokenizer_digest, "code": code_digest}[part](found.files)
    return Part(part, name, branch, found.commit, digest, files)


def _ask_artifact(reference: str, fetch: Fetch) -> Answered:
    wanted = read_reference(reference)
    registry, trust = registry_of(wanted.registry, fetch), Trust.of(MODELS)
    models = OciModels(registry)
    found = models.resolve(wanted)
    contents = models.contents(wanted.path, found.files)
    parts = list(_parts(wanted.repository, found, contents))
    evidence = evidence_of(registry, wanted.path, found.commit, trust)
    own = models.signed(wanted.path, found.files) if trust.checks else None
    evidence = replace(evidence, own=own, files=tuple(found.files))
    return _answered(wanted.repository, wanted.tag, found, contents, parts, evidence)


def _parts(name: str, found: Revision, contents: Mapping[str, bytes]) -> Iterator[Part]:
    """Those that lie beside the weights, the tokenizer first."""
    digest, files = tokenizer_digest(found.files)
    yield Part("tokenizer", name, "", found.commit, digest, files)
    if code_of(contents, name) == name:
        digest, files = code_digest(found.files)
        yield Part("code", name, "", found.commit, digest, files)
    digest, file = template_of(contents)
    if digest:
        yield Part("chat_template", name, "", digest, digest, (file,))


def _answered(
    name: str,
    label: str,
    found: Revision,
    contents: Mapping[str, bytes],
    parts: list[Part],
    evidence: Evidence,
) -> Answered:
    shape = read_shape(config_of(contents), found.weight_bytes)
    return Answered(
        kind=Resolution.MODEL,
        name=name,
        label=label,
        pinned=found.commit,
        answer=dict(found.answer) | {"licence": found.licence, "weights": found.weight_bytes},
        signature=checked(evidence, Trust.of(MODELS), timezone.now().date()).as_json(),
        evidence=evidence.as_json(),
        shape=shape.as_json() if shape else None,
        parts=tuple(parts),
        licence=found.licence,
    )


def refusal_of(error: ClientError, at: str) -> ConsoleError:
    """For good at the field, for now above all fields."""
    if isinstance(error, Permanent):
        return Invalid(**{at: error.message})
    return Unavailable(error.message)


@transaction.atomic
def keep(viewer: Viewer, answered: Answered) -> Resolution:
    """Write down who resolved what, when, and what was answered."""
    viewer.require(Permission.PROPOSE)
    row = Resolution.objects.create(
        kind=answered.kind,
        name=answered.name,
        label=answered.label,
        pinned=answered.pinned,
        answer=dict(answered.answer),
        signature=dict(answered.signature),
        evidence=dict(answered.evidence),
        shape=dict(answered.shape) if answered.shape else None,
        parts=[part.as_json() for part in answered.parts],
        asked_by_id=viewer.user_id,
    )
    record(viewer, "release.resolve", row, after=_seen(row))
    return row


@transaction.atomic
def check_again(viewer: Viewer, resolution_id: int) -> Resolution:
    """Judge the newest kept signatures of the same digest or commit, with the keys and the signers
    of now. Asks nobody.
    """
    viewer.require(Permission.PROPOSE)
    row = Resolution.objects.filter(pk=resolution_id).first()
    if row is None:
        raise NotFound("There is no such resolution")
    same = Resolution.objects.filter(kind=row.kind, name=row.name, pinned=row.pinned)
    row = same.exclude(evidence={}).order_by("-id").first() or row
    evidence = evidence_from(row.evidence)
    if not evidence.asked:
        raise Conflict(f"No signature was asked for when {row.name} was resolved: resolve it again")
    subject = IMAGES if row.kind == Resolution.IMAGE else MODELS
    found = checked(evidence, Trust.of(subject), timezone.now().date())
    before = _seen(row)
    row.pk, row._state.adding = None, True
    row.signature, row.asked_by_id = found.as_json(), viewer.user_id
    row.save()
    record(viewer, "release.check_signature", row, before=before, after=_seen(row))
    return row


def _seen(row: Resolution) -> dict[str, Any]:
    """For the audit: evidence may be long, and is kept with the row."""
    return {k: v for k, v in picture(row).items() if k != "evidence"}
