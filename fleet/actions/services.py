"""Create and change services: what tenants call by a served model name."""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from fleet.models import Cluster, Deployment, Placement, Rollout, ScalingPolicy, Service
from fleet.queries.adapters import owner_of_adapter
from fleet.rules.objectives import (
    LIMITS,
    check_fallbacks,
    check_limits,
    check_name,
    check_objectives,
)
from fleet.rules.phases import FINAL
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

CHANGEABLE = frozenset({"description", "cluster_id", "objectives", "fallbacks", *LIMITS})
PUBLISH = "fleet.tasks.publish_routing"


@transaction.atomic
def create(
    viewer: Viewer,
    *,
    name: str,
    description: str = "",
    cluster_id: int | None = None,
    objectives: dict[str, Any] | None = None,
    fallbacks: Sequence[str] = (),
    demo: bool = False,
    **limits: int,
) -> Service:
    """Make a service. It answers nothing before a release was rolled out to it."""
    viewer.require(Permission.MANAGE_FLEET)
    fields: dict[str, Any] = {
        "description": description,
        "cluster_id": cluster_id,
        "fallbacks": list(fallbacks),
        "objectives": objectives or {},
        **limits,
    }
    _refuse_unknown(fields)
    if owner := owner_of_adapter(name):
        raise Conflict(f"{name} is an adapter of {owner}: requests for it would come here instead")
    service = Service(name=check_name(name), demo=demo, **_checked(name, fields))
    try:
        with transaction.atomic():
            service.save()
    except IntegrityError as error:
        raise Conflict(f"There is a service {name!r} already") from error
    record(viewer, "service.create", service, after=service)
    nudge(PUBLISH)
    return service


@transaction.atomic
def change(
    viewer: Viewer, service_id: int, expected_version: int | None, *, why: str = "", **fields: Any
) -> Service:
    """Change a service. A new number of replicas is reached between rollouts, in seconds."""
    viewer.require(Permission.MANAGE_FLEET)
    # A rollout that is proposed in this moment is planned for its cluster: it is awaited.
    service = Service.objects.select_for_update(no_key=True).filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    _refuse_unknown(fields)
    if "cluster_id" in fields and fields["cluster_id"] != service.cluster_id:
        _refuse_move(service)
    if fields.get("replicas", service.replicas) != service.replicas:
        _refuse_number(service)
    before = picture(service)
    service.change(expected_version, **_checked(service.name, fields))
    record(viewer, "service.change", service, before=before, after=service, why=why)
    nudge(PUBLISH)
    return service


def _checked(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(check_limits(fields))
    if "description" in fields:
        found["description"] = _text(fields["description"])
    if "objectives" in fields:
        found["objectives"] = check_objectives(fields["objectives"])
    if "fallbacks" in fields:
        known = dict(Service.objects.values_list("name", "fallbacks"))
        check_fallbacks(name, fields["fallbacks"], known)
        found["fallbacks"] = list(fields["fallbacks"])
    if "cluster_id" in fields:
        found["cluster_id"] = _cluster(fields["cluster_id"])
    return found


def _text(given: object) -> str:
    if not isinstance(given, str) or len(given) > 200:
        raise Invalid(description="Give a text of at most 200 characters")
    return given.strip()


def _cluster(cluster_id: int | None) -> int | None:
    if cluster_id is None:
        return None
    if not Cluster.objects.filter(pk=cluster_id, removed_at=None).exists():
        raise Invalid(cluster_id="There is no such cluster")
    return cluster_id


def _refuse_unknown(fields: dict[str, Any]) -> None:
    if strange := sorted(fields.keys() - CHANGEABLE):
        raise Invalid(**{name: "A service has no such field" for name in strange})


def _refuse_number(service: Service) -> None:
    """Two who give the number would undo each other's."""
    policy = ScalingPolicy.objects.filter(service=service).first()
    if policy is not None:
        raise Invalid(
            replicas=f"A policy scales it between {policy.min_replicas} and"
            f" {policy.max_replicas} replicas: change its bounds, or clear it first"
        )


def _refuse_move(service: Service) -> None:
    """Only what never served is moved: engines stay where gateways and policies look for them."""
    instead = (
        f"it stays there. Make a service in the other cluster, and let that one answer for"
        f" {service} too, as a placement of it"
    )
    if Deployment.objects.filter(service=service, replicas__gt=0).exists():
        raise Conflict(f"It runs in its cluster: {instead}")
    if ScalingPolicy.objects.filter(service=service).exclude(slept_at=None).exists():
        raise Conflict(f"It sleeps in its cluster, where its first request wakes it: {instead}")
    tied = Placement.objects.filter(Q(service=service) | Q(member=service))
    if one := tied.select_related("service").first():
        raise Conflict(
            f"It answers for {one.service} in its cluster, and others do in theirs: take it out of"
            f" the placements of {one.service} first"
        )
    ended = [phase.value for phase in FINAL]
    if Rollout.objects.filter(service=service).exclude(phase__in=ended).exists():
        raise Conflict("A rollout of it is under way: it can be moved when that has ended")
