"""Resolve a tag or a branch once, when a person asks, and keep what was answered.

Asking comes first and outside any transaction (`ask_...`); the doors then open the viewer's scope
and keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction

from fleet.clients.errors import ClientError, Permanent
from fleet.clients.fetch import Fetch
from fleet.clients.model_hub import ModelHub
from fleet.clients.registry import Registry
from fleet.models import Resolution
from fleet.rules.model_shape import read_shape
from fleet.rules.reference import ImageReference, read_model, read_reference
from fleet.rules.signature import verify
from tenants.actions.audit import record
from tenants.errors import ConsoleError, Invalid, Unavailable
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Answered:
    """What a registry or a model repository said, not kept yet."""

    kind: str
    name: str
    label: str
    pinned: str
    answer: Mapping[str, Any]
    signature: Mapping[str, Any] = field(default_factory=dict)
    shape: Mapping[str, int] | None = None
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
    name = wanted.registry
    credential = settings.QM_REGISTRY_CREDENTIALS.get(name, "")
    registry = Registry(settings.QM_REGISTRIES[name], name, fetch, credential)
    found = registry.resolve(wanted)
    keys = settings.QM_SIGNATURE_KEYS
    signatures = registry.signatures(wanted.path, found.digest) if keys else []
    signed = verify(found.digest, signatures, keys)
    return Answered(
        kind=Resolution.IMAGE,
        name=wanted.repository,
        label=wanted.tag,
        pinned=found.digest,
        answer=found.answer,
        signature=signed.as_json(),
    )


def ask_model(viewer: Viewer, name: str, revision: str) -> Answered:
    """Ask the model repository which commit a branch or tag is. Call it in no transaction."""
    viewer.require(Permission.PROPOSE)
    try:
        name, revision = read_model(name, revision)
    except ValueError as error:
        raise Invalid(commit=str(error)) from error
    if not settings.QM_MODEL_HUB:
        raise Invalid(
            commit="This console asks no model repository (QM_MODEL_HUB): give the 40-hex commit"
        )
    fetch = Fetch([settings.QM_MODEL_HUB], "QM_MODEL_HUB")
    try:
        hub = ModelHub(settings.QM_MODEL_HUB, fetch, settings.QM_MODEL_HUB_TOKEN)
        found = hub.resolve(name, revision)
    except ClientError as error:
        raise refusal_of(error, "commit") from error
    finally:
        fetch.close()
    shape = read_shape(found.config, found.weight_bytes)
    return Answered(
        kind=Resolution.MODEL,
        name=name,
        label="" if revision == found.commit else revision,
        pinned=found.commit,
        answer=dict(found.answer) | {"licence": found.licence, "weights": found.weight_bytes},
        shape=shape.as_json() if shape else None,
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
        shape=dict(answered.shape) if answered.shape else None,
        asked_by_id=viewer.user_id,
    )
    record(viewer, "release.resolve", row, after=row)
    return row
