"""What tags and branches meant when somebody asked, and what the policy says about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from fleet.models import ModelVersion, Release, Resolution
from fleet.queries.access import see_fleet
from fleet.rules.artifacts import commits_apart
from fleet.rules.reference import read_reference
from fleet.rules.release import ModelPin
from fleet.rules.signature import IMAGES, MODELS, Policy, Signed, refuse_unsigned
from tenants.errors import Invalid, NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class ResolutionRow:
    id: int
    kind: str
    name: str
    label: str  # empty: a digest or commit was asked for
    pinned: str
    answer: Mapping[str, Any]
    signature: Mapping[str, Any]
    shape: Mapping[str, int] | None
    parts: tuple[Mapping[str, Any], ...]
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """Of a release's image or model, under the policy of its cluster."""

    policy: str
    state: str  # empty: nobody has resolved it
    why: str


def resolutions(viewer: Viewer) -> QuerySet[Resolution]:
    """Newest first."""
    see_fleet(viewer)
    return Resolution.objects.select_related("asked_by").defer("evidence").order_by("-id")


def list_resolutions(viewer: Viewer, **wanted: str) -> list[ResolutionRow]:
    """The last hundred. `wanted`: kind, name, label."""
    rows = resolutions(viewer).filter(**{k: v for k, v in wanted.items() if v})
    return [row_of(r) for r in rows[:100]]


def get_resolution(viewer: Viewer, resolution_id: int) -> ResolutionRow:
    found = resolutions(viewer).filter(pk=resolution_id).first()
    if found is None:
        raise NotFound("There is no such resolution")
    return row_of(found)


def find_resolution(kind: str, name: str, pinned: str) -> Resolution | None:
    """The last record of what was resolved to this digest or commit.

    A path inside of an image or a volume is known by the digest of what lies there.
    """
    rows = Resolution.objects.filter(kind=kind, pinned=pinned).defer("evidence")
    rows = rows if name.startswith("/") else rows.filter(name=name)
    return rows.select_related("asked_by").order_by("-id").first()


def recall(viewer: Viewer, kind: str, name: str, label: str) -> ResolutionRow:
    """What a tag or branch meant when it was last resolved. Asks nobody."""
    viewer.require(Permission.PROPOSE)
    rows = resolutions(viewer).filter(kind=kind, name=name)
    found = rows.filter(Q(label=label) | Q(pinned=label)).first()
    if found is None:
        raise NotFound(
            f"Nobody has resolved {name}:{label} here, so nothing is kept of it: resolve it while"
            " its registry answers, or give the digest by hand"
        )
    return row_of(found)


def recall_image(viewer: Viewer, reference: str) -> ResolutionRow:
    try:
        wanted = read_reference(reference)
    except ValueError as error:
        raise Invalid(image=str(error)) from error
    return recall(viewer, Resolution.IMAGE, wanted.repository, wanted.wanted)


def recall_model(viewer: Viewer, name: str, revision: str) -> ResolutionRow:
    return recall(viewer, Resolution.MODEL, name.strip(), revision.strip())


def row_of(r: Resolution) -> ResolutionRow:
    return ResolutionRow(
        id=r.pk,
        kind=r.kind,
        name=r.name,
        label=r.label,
        pinned=r.pinned,
        answer=r.answer,
        signature=r.signature,
        shape=r.shape,
        parts=tuple(r.parts),
        by=r.asked_by.email if r.asked_by else "",
        at=r.at,
    )


def policy_of(cluster: str, kind: str = Resolution.IMAGE) -> Policy:
    """By the cluster's slug; what is not named has the policy of all."""
    of_models = kind == Resolution.MODEL
    policies = settings.QM_MODEL_SIGNATURES if of_models else settings.QM_SIGNATURES
    return Policy(policies.get(cluster, policies[""]))


def signature_of(release: Release) -> SignatureRow:
    """The newest record counts: an image may have been signed after the release was made."""
    found = find_resolution(Resolution.IMAGE, release.image, release.image_digest)
    return _row(_cluster_of(release), Resolution.IMAGE, found)


def model_signature_of(release: Release) -> SignatureRow:
    return signature_of_model(release.model_version, _cluster_of(release))


def signature_of_model(pin: ModelPin | ModelVersion, cluster: str) -> SignatureRow:
    """Of all that is pinned of a model: what lies at another commit is signed there, or not."""
    found = find_resolution(Resolution.MODEL, pin.name, pin.commit)
    row = _row(cluster, Resolution.MODEL, found)
    if found is None or row.state != Signed.VERIFIED:
        return row
    missing = [
        f"{part} at {commit[:12]} is not known to be signed"
        for part, commit in commits_apart(pin, found.parts)
        if not _is_signed(commit)
    ]
    if not missing:
        return row
    why = f"{row.why}. But the {' and the '.join(missing)}: resolve that commit as a model too"
    return replace(row, state=Signed.PARTIAL.value, why=why)


def _row(cluster: str, kind: str, found: Resolution | None) -> SignatureRow:
    said = found.signature if found else {}
    return SignatureRow(policy_of(cluster, kind).value, said.get("state", ""), said.get("why", ""))


def _cluster_of(release: Release) -> str:
    return release.service.cluster.slug if release.service.cluster else ""


def _is_signed(commit: str) -> bool:
    rows = Resolution.objects.filter(kind=Resolution.MODEL, pinned=commit).order_by("-id")
    said = rows.values_list("signature", flat=True).first() or {}
    return said.get("state") == Signed.VERIFIED


def refuse_signatures(release: Release) -> str:
    """A sentence where the policies of the cluster forbid to roll it out."""
    return next((refusal for refusal, _ in _looks(release) if refusal), "")


def signature_warnings(release: Release) -> list[str]:
    """What stands against it or speaks against it, from one look at the records."""
    return [refusal or warning for refusal, warning in _looks(release) if refusal or warning]


def _looks(release: Release) -> Iterator[tuple[str, str]]:
    """What the policy says of image and model: a refusal, or a warning."""
    version = release.model_version
    named = (
        (IMAGES, Resolution.IMAGE, signature_of, release.image),
        (MODELS, Resolution.MODEL, model_signature_of, f"{version.name} at {version.commit[:12]}"),
    )
    for subject, kind, look, name in named:
        if policy_of(_cluster_of(release), kind) is Policy.OFF:
            continue  # whatever the records say
        row = look(release)
        refusal = refuse_unsigned(Policy(row.policy), row.state, row.why, name, subject)
        warns = row.policy == Policy.WARN and row.state != Signed.VERIFIED
        why = row.why or "Nobody has resolved it here"
        text = f"The {subject.what} is not known to be signed. {why}" if warns else ""
        yield refusal, text
