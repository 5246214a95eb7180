"""Set and clear the bounds between which a service is scaled by its load. The drive scales."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from fleet.models import Deployment, ScalingPolicy, Service
from fleet.rules.scaling import Policy, refuse_policy
from fleet.rules.schedule import hours_from
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound, PreconditionRequired, Stale
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

SCALE = "fleet.tasks.scale_service"


@transaction.atomic
def set_policy(
    viewer: Viewer,
    service_id: int,
    expected_version: int | None,
    policy: Policy,
    *,
    why: str = "",
) -> ScalingPolicy:
    """Scale a service by its load from now on. No version: there is no policy yet."""
    viewer.require(Permission.MANAGE_FLEET)
    service = fetch(service_id)
    if wrong := refuse_policy(policy):
        raise Invalid(**wrong)
    old = ScalingPolicy.objects.filter(service=service).first()
    before = facts(old) if old else None
    fields = fields_of(policy)
    if old is None and expected_version is not None:
        raise Stale(f"{service} is not scaled by a policy any more: look at it again, then retry")
    stored = replace(old, expected_version, fields) if old else make(service, fields)
    record(viewer, "service.set_scaling", service, before=before, after=facts(stored), why=why)
    nudge(SCALE, stored.pk)
    return stored


def fetch(service_id: int) -> Service:
    service = Service.objects.filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    return service


def fields_of(policy: Policy) -> dict[str, Any]:
    return {
        "min_replicas": policy.always.least,
        "max_replicas": policy.always.most,
        "target": policy.target,
        "stable_seconds": round(policy.stable.total_seconds()),
        "pause_seconds": round(policy.pause.total_seconds()),
        "hours": [h.as_json() for h in policy.hours],
        "zone": policy.zone,
        "idle_seconds": round(policy.sleep.idle.total_seconds()),
        "wait_seconds": round(policy.sleep.wait.total_seconds()),
        "max_waiting": policy.sleep.most,
    }


def make(service: Service, fields: dict[str, Any]) -> ScalingPolicy:
    try:
        with transaction.atomic():
            policy = ScalingPolicy.objects.create(service=service, **fields)
    except IntegrityError as error:
        raise Conflict(f"{service} got a policy in this moment: look at it first") from error
    ScalingPolicy.objects.filter(pk=policy.pk).update(look_again=Now())
    return policy


def replace(
    policy: ScalingPolicy, expected_version: int | None, fields: dict[str, Any]
) -> ScalingPolicy:
    if expected_version is None:
        raise PreconditionRequired("It is scaled by a policy already: send the ETag of that")
    return policy.change(expected_version, look_again=Now(), **fields)


@transaction.atomic
def clear_policy(
    viewer: Viewer, service_id: int, expected_version: int | None, *, why: str = ""
) -> Service:
    """Leave the number of replicas to people again; it stays as it is now."""
    viewer.require(Permission.MANAGE_FLEET)
    service = fetch(service_id)
    policy = ScalingPolicy.objects.select_for_update().filter(service=service).first()
    if policy is None:
        raise NotFound(f"{service} is not scaled by a policy")
    policy.change(expected_version)
    if policy.slept_at and policy.woken_at is None:
        raise Conflict(f"{service} sleeps: wake it first, without the policy nothing would")
    before = facts(policy)
    policy.delete()
    placed = Deployment.objects.filter(service=service, release=service.current_release_id)
    replicas = placed.values_list("replicas", flat=True).first()
    if replicas:
        service.change(None, replicas=replicas)
    after = {"replicas": service.replicas}
    record(viewer, "service.clear_scaling", service, before=before, after=after, why=why)
    return service


@transaction.atomic
def wake(viewer: Viewer, service_id: int, *, why: str = "") -> ScalingPolicy:
    """Start a service that sleeps, without a request. It sleeps again when nobody asks."""
    viewer.require(Permission.MANAGE_FLEET)
    service = fetch(service_id)
    policy = ScalingPolicy.objects.select_for_update().filter(service=service).first()
    if policy is None or policy.slept_at is None:
        raise Conflict(f"{service} does not sleep: there is nothing to wake")
    if policy.woken_at is not None:
        raise Conflict(f"{service} wakes since {policy.woken_at:%H:%M:%S} UTC")
    ScalingPolicy.objects.filter(pk=policy.pk).update(called_at=Now(), look_again=Now())
    policy.refresh_from_db()
    record(viewer, "service.wake", service, why=why)
    nudge(SCALE, policy.pk)
    return policy


def facts(policy: ScalingPolicy) -> dict[str, Any]:
    """What people wrote, the bounds as they read them."""
    return {
        "min_replicas": policy.min_replicas,
        "max_replicas": policy.max_replicas,
        "target": policy.target,
        "stable_seconds": policy.stable_seconds,
        "pause_seconds": policy.pause_seconds,
        "hours": [h.words for h in hours_from(policy.hours)],
        "zone": policy.zone,
        "idle_seconds": policy.idle_seconds,
        "wait_seconds": policy.wait_seconds,
        "max_waiting": policy.max_waiting,
    }
