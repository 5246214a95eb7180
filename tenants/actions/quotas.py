"""Quotas: every change is a new version; counters go on under the same series."""

from dataclasses import asdict, dataclass, fields

from django.db import transaction
from django.utils import timezone

from tenants.actions.audit import record
from tenants.actions.tenants import lock_tenant
from tenants.errors import Conflict, Invalid, Stale
from tenants.models import Quota, Tenant
from tenants.nudge import nudge
from tenants.queries.quotas import get_quota, quota_of
from tenants.queries.tenants import get_application, get_tenant, granted_models
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import Limits, faults_of_limits

PUBLISH_POLICY = "tenants.tasks.publish_policy"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a quota binds: the whole tenant, one application, one model, or both."""

    tenant: str
    application: str = ""
    model: str = ""


@transaction.atomic
def set_quota(
    viewer: Viewer, target: Target, *, limits: Limits, expected: int | None = None, why: str = ""
) -> Quota:
    """Make `limits` hold for `target`. `expected`: the version that was read, 0 for none yet.

    The same limits again make no new version.
    """
    tenant = get_tenant(viewer, target.tenant)
    viewer.require(Permission.MANAGE_TENANTS, tenant.pk)
    faults = faults_of_limits(limits)
    application = None
    if target.application:
        application = get_application(viewer, tenant, target.application)
    if target.model and target.model not in granted_models(viewer, tenant):
        faults["model"] = f"{target.tenant} was not granted {target.model!r}: grant it first"
    if faults:
        raise Invalid(**faults)
    lock_tenant(tenant)
    application_id = application.pk if application else None
    old = quota_of(viewer, tenant, application_id=application_id, model=target.model)
    _check_version(old, expected)
    if old and limits_of(old) == limits:
        return old
    new = _supersede(tenant, old, application_id, target.model, limits)
    before = asdict(limits_of(old)) if old else None
    record(viewer, "quota.set", new, before=before, after=asdict(limits) | _facts(new), why=why)
    nudge(PUBLISH_POLICY)
    return new


@transaction.atomic
def clear_quota(
    viewer: Viewer, series: int, *, expected: int | None = None, why: str = ""
) -> Quota:
    """Let nothing of this quota hold any more. Its history stays."""
    quota = get_quota(viewer, series)
    viewer.require(Permission.MANAGE_TENANTS, quota.tenant_id)
    lock_tenant(quota.tenant)
    quota = get_quota(viewer, series)
    if quota.superseded_at:
        raise Conflict(f"This quota was cleared at {quota.superseded_at:%Y-%m-%d %H:%M} UTC")
    _check_version(quota, expected)
    quota.superseded_at = timezone.now()
    quota.save(update_fields=["superseded_at"])
    before = asdict(limits_of(quota)) | _facts(quota)
    record(viewer, "quota.clear", quota, before=before, after=None, why=why)
    nudge(PUBLISH_POLICY)
    return quota


def limits_of(quota: Quota) -> Limits:
    return Limits(**{f.name: getattr(quota, f.name) for f in fields(Limits)})


def _check_version(old: Quota | None, expected: int | None) -> None:
    version = old.version if old else 0
    if expected is not None and expected != version:
        raise Stale(f"Version {version} holds now, and not what you read: look again")


def _supersede(
    tenant: Tenant, old: Quota | None, application_id: int | None, model: str, limits: Limits
) -> Quota:
    if old:
        old.superseded_at = timezone.now()
        old.save(update_fields=["superseded_at"])
    same = Quota.objects.filter(tenant=tenant, application=application_id, model=model)
    last = old or same.order_by("-version").first()  # cleared ones go on counting too
    new = Quota.objects.create(
        tenant=tenant,
        application_id=application_id,
        model=model,
        series=last.series if last else 0,
        version=last.version + 1 if last else 1,
        **asdict(limits),
    )
    if last is None:
        new.series = new.pk
        new.save(update_fields=["series"])
    return new


def _facts(quota: Quota) -> dict[str, object]:
    return {
        "series": quota.series,
        "version": quota.version,
        "application_id": quota.application_id,
        "model": quota.model,
    }
