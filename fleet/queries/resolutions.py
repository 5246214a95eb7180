"""What tags and branches meant when somebody asked, and what the policy says about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from fleet.models import Release, Resolution
from fleet.queries.access import see_fleet
from fleet.rules.reference import read_reference
from fleet.rules.signature import Policy, Signed, refuse_unsigned
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
    signature: Mapping[str, str]
    shape: Mapping[str, int] | None
    parts: tuple[Mapping[str, Any], ...]
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """Of a release's image, under the policy of its cluster."""

    policy: str
    state: str  # empty: nobody has resolved this image
    why: str


def resolutions(viewer: Viewer) -> QuerySet[Resolution]:
    """Newest first."""
    see_fleet(viewer)
    return Resolution.objects.select_related("asked_by").order_by("-id")


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
    rows = Resolution.objects.filter(kind=kind, pinned=pinned)
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


def policy_of(cluster: str) -> Policy:
    """By the cluster's slug; what is not named has the policy of all."""
    policies = settings.QM_SIGNATURES
    return Policy(policies.get(cluster, policies[""]))


def signature_of(release: Release) -> SignatureRow:
    """The newest record counts: an image may have been signed after the release was made."""
    service = release.service
    policy = policy_of(service.cluster.slug if service.cluster else "")
    found = find_resolution(Resolution.IMAGE, release.image, release.image_digest)
    said = found.signature if found else {}
    return SignatureRow(policy.value, said.get("state", ""), said.get("why", ""))


def refuse_image(release: Release) -> str:
    """A sentence where the policy of the cluster forbids to roll it out."""
    row = signature_of(release)
    return refuse_unsigned(Policy(row.policy), row.state, row.why, release.image)


def image_warnings(release: Release) -> list[str]:
    """What stands against it or speaks against it, from one look at the records."""
    row = signature_of(release)
    refusal = refuse_unsigned(Policy(row.policy), row.state, row.why, release.image)
    if refusal or row.policy != Policy.WARN or row.state == Signed.VERIFIED:
        return [refusal] if refusal else []
    return [f"The image is not known to be signed. {row.why or 'Nobody has resolved it here'}"]
