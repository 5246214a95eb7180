"""Releases: what is pinned, what changed between two, how they fared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery

from fleet.models import Release, Rollout, Service, StartSample
from fleet.queries.access import see_fleet
from fleet.queries.adapters import missed
from fleet.queries.resolutions import (
    ResolutionRow,
    SignatureRow,
    model_signature_of,
    row_of,
    signature_of,
)
from fleet.rules.artifacts import compare_parts
from fleet.rules.differences import Change, compare, cost_of, kv_reasons, visible_to_clients
from fleet.rules.groups import pods_by_product
from fleet.rules.kv_layout import layout_of
from fleet.rules.kv_layout import policy_of as kv_policy_of
from fleet.rules.phases import FINAL, Phase
from fleet.rules.pins import Pins, served_names
from fleet.rules.release import Probes, ReleaseSpec, Resources, Role, spec_from
from fleet.rules.starts import MANY, measured
from tenants.errors import NotFound
from tenants.rules.access import Viewer

# What a row of a list shows; arguments, environment and probes are JSON that it does not.
LISTED = (
    "number", "digest", "image", "image_tag", "image_digest", "resources", "roles", "note",
    "created_at", "service__name", "model_version__name", "model_version__commit",
    "created_by__email",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """`fate`: serving, trying, succeeded, rolled_back or unused."""

    id: int
    label: str  # r7
    number: int
    service_id: int
    service: str
    digest: str
    fingerprint: str
    model: str
    commit: str
    image: str
    image_tag: str
    image_digest: str
    gpus: int
    gpu_product: str  # empty: any, or several
    gpu_mix: dict[str, int]  # by product
    note: str
    created_by: str
    created_at: datetime
    fate: str
    rollout_id: int | None  # the last one to it


@dataclass(frozen=True, slots=True)
class ReleaseDetail:
    release: ReleaseRow
    tokenizer_commit: str
    code_commit: str
    chat_template_digest: str
    licence: str
    model_label: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    pins: Pins
    served_names: tuple[str, ...]
    kv_layout: str
    kv_policy: tuple[str, ...]
    resources: Resources
    probes: Probes
    roles: tuple[Role, ...]  # of which a replica is made; none: it is one pod
    image_resolution: ResolutionRow | None  # None: the digest was given by hand
    model_resolution: ResolutionRow | None
    signature: SignatureRow  # of the image
    model_signature: SignatureRow
    starts: int
    start_p50: float | None  # seconds
    start_p95: float | None
    rollouts: tuple[tuple[int, str, str], ...]  # id, phase, why


@dataclass(frozen=True, slots=True)
class Comparison:
    old: ReleaseRow
    new: ReleaseRow
    changes: tuple[Change, ...]
    visible: tuple[str, ...]  # what clients will notice
    cost: tuple[str, ...]
    kv: tuple[str, ...]  # why blocks of one are unreadable for the other; empty: they are not
    kv_domain_changes: bool


def spec_of(release: Release) -> ReleaseSpec:
    """The stored release as rules know it."""
    pin = release.model_version
    return spec_from(
        service=release.service.name,
        model={
            "name": pin.name,
            "commit": pin.commit,
            "tokenizer_commit": pin.tokenizer_commit,
            "code_commit": pin.code_commit,
            "chat_template_digest": pin.chat_template_digest,
        },
        image=release.image,
        image_digest=release.image_digest,
        arguments=release.arguments,
        environment=release.environment,
        pins=release.pins,
        resources=release.resources,
        probes=release.probes,
        roles=release.roles,
    )


def releases(viewer: Viewer) -> QuerySet[Release]:
    """Newest first."""
    see_fleet(viewer)
    related = ("service", "model_version", "created_by")
    return Release.objects.select_related(*related).order_by("-id")


def fetch_release(viewer: Viewer, release_id: int) -> Release:
    found = releases(viewer).filter(pk=release_id).first()
    if found is None:
        raise NotFound("There is no such release")
    return found


def list_releases(viewer: Viewer, *, service_id: int | None = None) -> tuple[ReleaseRow, ...]:
    rows = releases(viewer).only(*LISTED)
    if service_id is not None:
        rows = rows.filter(service_id=service_id)
    return release_rows(list(rows))


def search_releases(viewer: Viewer, *, service: str = "", fate: str = "") -> QuerySet[Release]:
    """For lists that are cut into pages before they become rows (`release_rows`)."""
    rows = releases(viewer).only(*LISTED)
    if service:
        rows = rows.filter(service__name=service)
    return with_fate(rows, fate) if fate else rows


def with_fate(rows: QuerySet[Release], fate: str) -> QuerySet[Release]:
    """What `fate_of` says, asked of the database."""
    if fate == "serving":
        return rows.filter(current_of__isnull=False)
    last = Rollout.objects.filter(to_release=OuterRef("pk")).order_by("-id").values("phase")[:1]
    others = rows.filter(current_of__isnull=True).annotate(last=Subquery(last))
    if fate == "unused":
        return others.filter(last=None)
    if fate == "trying":
        return others.exclude(last=None).exclude(last__in=FINAL)
    return others.filter(last=fate, last__in=FINAL)


def get_release_row(viewer: Viewer, release_id: int) -> ReleaseRow:
    return release_rows([fetch_release(viewer, release_id)])[0]


def get_release(viewer: Viewer, release_id: int) -> ReleaseDetail:
    release = fetch_release(viewer, release_id)
    pin, spec = release.model_version, spec_of(release)
    seconds = StartSample.objects.filter(release=release).order_by("-id")[:MANY]
    starts = measured([s.seconds for s in seconds], str(release))
    rollouts = Rollout.objects.filter(to_release=release).order_by("-id")
    return ReleaseDetail(
        release=release_rows([release])[0],
        tokenizer_commit=pin.tokenizer_commit,
        code_commit=pin.code_commit,
        chat_template_digest=pin.chat_template_digest,
        licence=pin.licence,
        model_label=pin.label,
        arguments=tuple(release.arguments),
        environment=dict(release.environment),
        pins=spec.pins,
        served_names=served_names(spec.service, spec.pins),
        kv_layout=layout_of(spec),
        kv_policy=tuple(kv_policy_of(spec)),
        resources=spec.resources,
        probes=spec.probes,
        roles=spec.roles,
        image_resolution=row_of(image) if (image := release.image_resolution) else None,
        model_resolution=row_of(model) if (model := release.model_resolution) else None,
        signature=signature_of(release),
        model_signature=model_signature_of(release),
        starts=starts.samples,
        start_p50=starts.p50,
        start_p95=starts.p95,
        rollouts=tuple(rollouts.values_list("id", "phase", "why")),
    )


def compare_releases(viewer: Viewer, old_id: int, new_id: int) -> Comparison:
    """What changes on the way from one to the other; any two of one service."""
    old, new = fetch_release(viewer, old_id), fetch_release(viewer, new_id)
    before, after = spec_of(old), spec_of(new)
    changes = compare(before, after)
    rows = release_rows([old, new])
    gone = missed(viewer, old.service_id, before.pins, after.pins)
    known = [r.model_resolution.parts if r.model_resolution else [] for r in (old, new)]
    return Comparison(
        old=rows[0],
        new=rows[1],
        changes=tuple(changes),
        visible=(*gone, *visible_to_clients(changes), *compare_parts(*known)),
        cost=tuple(cost_of(before, after)),
        kv=tuple(kv_reasons(changes)),
        kv_domain_changes=bool(kv_reasons(changes)),
    )


def release_rows(found: Sequence[Release]) -> tuple[ReleaseRow, ...]:
    ids = [r.pk for r in found]
    last: dict[int, tuple[int, str]] = {}
    rollouts = Rollout.objects.filter(to_release__in=ids).order_by("id")
    for release_id, rollout_id, phase in rollouts.values_list("to_release_id", "id", "phase"):
        last[release_id] = (rollout_id, phase)
    current = set(
        Service.objects.filter(current_release__in=ids).values_list("current_release_id", flat=True)
    )
    return tuple(_row(r, last.get(r.pk), r.pk in current) for r in found)


def _row(release: Release, last: tuple[int, str] | None, current: bool) -> ReleaseRow:
    pods = pods_by_product(release.resources, release.roles)
    mix = {product: sum(each) for product, each in pods.items()}
    return ReleaseRow(
        id=release.pk,
        label=str(release),
        number=release.number,
        service_id=release.service_id,
        service=release.service.name,
        digest=release.digest,
        fingerprint=release.fingerprint,
        model=release.model_version.name,
        commit=release.model_version.commit,
        image=release.image,
        image_tag=release.image_tag,
        image_digest=release.image_digest,
        gpus=sum(mix.values()),
        gpu_product=next(iter(mix)) if len(mix) == 1 else "",
        gpu_mix=mix,
        note=release.note,
        created_by=release.created_by.email if release.created_by else "",
        created_at=release.created_at,
        fate=fate_of(last[1] if last else "", current),
        rollout_id=last[0] if last else None,
    )


def fate_of(phase: str, current: bool) -> str:
    if current:
        return "serving"
    if not phase:
        return "unused"
    if Phase(phase) not in FINAL:
        return "trying"
    return "succeeded" if phase == Phase.SUCCEEDED else phase
