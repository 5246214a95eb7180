"""Tenants and applications that a proposal names, found; and what gateways get of open rollouts."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fleet.models import Rollout
from fleet.rules.audience import STICKY, Asked, Audience, Named, audience_from, canary_of
from fleet.rules.phases import Phase
from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import Canary
from tenants.errors import Invalid, NotFound
from tenants.queries.tenants import get_application, get_tenant
from tenants.rules.access import Viewer


def find_audience(viewer: Viewer, asked: Asked) -> Audience:
    """Names as ids, or Invalid that says which is unknown."""
    strange = sorted(set(asked.first_classes) - {c.value for c in TrafficClass})
    if strange:
        raise Invalid(first_classes=f"There is no traffic class '{strange[0]}'")
    tenants = [name for name in asked.first if "/" not in name]
    applications = [name for name in asked.first if "/" in name]
    return Audience(
        tuple(_tenant(viewer, name, "first") for name in unique(tenants)),
        tuple(_application(viewer, name) for name in unique(applications)),
        tuple(c.value for c in TrafficClass if c.value in asked.first_classes),
        tuple(_tenant(viewer, name, "last") for name in unique(asked.last)),
    )


def unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _tenant(viewer: Viewer, slug: str, field: str) -> Named:
    try:
        found = get_tenant(viewer, slug)
    except NotFound as error:
        raise Invalid(**{field: f"There is no tenant '{slug}'"}) from error
    return Named(found.pk, found.slug, found.pk)


def _application(viewer: Viewer, name: str) -> Named:
    tenant, _, slug = name.partition("/")
    try:
        found = get_application(viewer, get_tenant(viewer, tenant), slug)
    except NotFound as error:
        raise Invalid(first=f"There is no application '{name}'") from error
    return Named(found.pk, name, found.tenant_id)


def audience_of(rollout: Rollout) -> Audience:
    return audience_from(rollout.plan.get("audience", {}))


def applications_named(services: Collection[int]) -> dict[int, set[int]]:
    """By service: applications that its open rollouts let go first."""
    key = "plan__audience__first_applications"
    rows = Rollout.objects.filter(
        service__in=services, ended_at=None, **{f"{key}__isnull": False}
    ).values_list("service_id", key)
    found: dict[int, set[int]] = {}
    for service, named in rows:
        if named:
            found.setdefault(service, set()).update(one["id"] for one in named)
    return found


def shadow_of(rollout: Rollout) -> int:
    """Percent of the requests that the present step copies; 0: it is no shadow."""
    present: Sequence[Mapping[str, Any]] = rollout.steps[rollout.step : rollout.step + 1]
    return sum(step["percent"] for step in present if step.get("shadow"))


def canaries() -> dict[int, Canary]:
    """By service, of rollouts whose traffic is or will be divided."""
    phases = [p.value for p in (*STICKY, Phase.PAUSED)]
    rows = Rollout.objects.filter(phase__in=phases).exclude(from_release=None)
    found = {}
    for r in rows:
        phase = Phase(r.resume_phase) if r.phase == Phase.PAUSED and r.resume_phase else None
        place = (phase or Phase(r.phase), r.step, audience_of(r), shadow_of(r))
        canary = canary_of(r.pk, r.to_release_id, *place)
        if canary is not None:
            found[r.service_id] = canary
    return found
