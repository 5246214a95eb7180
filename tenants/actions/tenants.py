"""Create and change tenants, suspend and resume them, grant them models."""

from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid
from tenants.models import ModelGrant, Tenant
from tenants.nudge import nudge
from tenants.queries.tenants import CLASSES, get_tenant, visible_tenants
from tenants.rules import names
from tenants.rules.access import Permission, Viewer
from tenants.rules.zones import zones

PUBLISH_POLICY = "tenants.tasks.publish_policy"


@dataclass(frozen=True, slots=True)
class TenantFields:
    """What people may change later. Slug and currency stay: URLs and invoices hold on to them."""

    name: str
    traffic_class: str = "interactive"
    time_zone: str = "UTC"
    residency: list[str] = field(default_factory=list)
    hosted_fallback: bool = False
    confidential_only: bool = False


@transaction.atomic
def create_tenant(
    viewer: Viewer,
    *,
    slug: str,
    fields: TenantFields,
    currency: str = "USD",
    demo: bool = False,
    why: str = "",
) -> Tenant:
    viewer.require(Permission.MANAGE_TENANTS)
    faults = _faults(fields) | names.faults(
        slug=names.fault_of_slug(slug), currency=names.fault_of_currency(currency)
    )
    if faults:
        raise Invalid(**faults)
    tenant = Tenant(slug=slug, currency=currency, demo=demo, **_columns(fields))
    try:
        with transaction.atomic():
            tenant.save()
    except IntegrityError as error:
        raise Invalid(slug=f"A tenant {slug} exists already") from error
    record(viewer, "tenant.create", tenant, after=tenant, tenant_id=tenant.pk, why=why)
    nudge(PUBLISH_POLICY)
    return tenant


@transaction.atomic
def change_tenant(
    viewer: Viewer, slug: str, *, fields: TenantFields, expected: int | None = None, why: str = ""
) -> Tenant:
    """`expected` is the version that was read; None changes whatever it is now."""
    tenant = _manageable(viewer, slug)
    if faults := _faults(fields):
        raise Invalid(**faults)
    return _change(viewer, tenant, "tenant.change", expected, why, **_columns(fields))


@transaction.atomic
def suspend_tenant(viewer: Viewer, slug: str, *, why: str, expected: int | None = None) -> Tenant:
    """Refuse all of its requests at the gateway, until it is resumed."""
    tenant = _manageable(viewer, slug)
    if not why.strip():
        raise Invalid(why="Say why: the tenant's people read this")
    if tenant.suspended_at:
        raise Conflict(f"{slug} is suspended since {tenant.suspended_at:%Y-%m-%d %H:%M} UTC")
    return _change(viewer, tenant, "tenant.suspend", expected, why, suspended_at=Now())


@transaction.atomic
def resume_tenant(
    viewer: Viewer, slug: str, *, why: str = "", expected: int | None = None
) -> Tenant:
    tenant = _manageable(viewer, slug)
    if not tenant.suspended_at:
        raise Conflict(f"{slug} is not suspended")
    return _change(viewer, tenant, "tenant.resume", expected, why, suspended_at=None)


@transaction.atomic
def renew_salt(viewer: Viewer, slug: str, *, why: str = "") -> Tenant:
    """Make every cached prefix of the tenant unreachable: its next prompts are computed anew."""
    tenant = _manageable(viewer, slug)
    return _change(viewer, tenant, "tenant.renew_salt", None, why, salt_epoch=tenant.salt_epoch + 1)


@transaction.atomic
def grant_model(viewer: Viewer, slug: str, model: str, *, why: str = "") -> ModelGrant:
    """Let a tenant call a served model. Granting again changes nothing."""
    tenant = _manageable(viewer, slug)
    if fault := names.fault_of_model(model):
        raise Invalid(model=fault)
    grant, is_new = ModelGrant.objects.get_or_create(tenant=tenant, model=model)
    if is_new:
        record(viewer, "model.grant", grant, after={"model": model}, why=why)
        nudge(PUBLISH_POLICY)
    return grant


@transaction.atomic
def withdraw_model(viewer: Viewer, slug: str, model: str, *, why: str = "") -> None:
    tenant = _manageable(viewer, slug)
    grant = ModelGrant.objects.filter(tenant=tenant, model=model).first()
    if grant is None:
        raise Conflict(f"{slug} was not granted {model}")
    record(viewer, "model.withdraw", grant, before={"model": model}, why=why)
    grant.delete()
    nudge(PUBLISH_POLICY)


def lock_tenant(tenant: Tenant) -> None:
    """One writer at a time on what belongs to a tenant, without stopping inserts of children."""
    Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).first()


def _manageable(viewer: Viewer, slug: str) -> Tenant:
    tenant = visible_tenants(viewer).filter(slug=slug).first() or get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_TENANTS, tenant.pk)
    return tenant


def _change(
    viewer: Viewer, tenant: Tenant, verb: str, expected: int | None, why: str, **columns: object
) -> Tenant:
    before = picture(tenant)
    tenant.change(expected, **columns)
    record(viewer, verb, tenant, before=before, after=tenant, why=why, tenant_id=tenant.pk)
    nudge(PUBLISH_POLICY)
    return tenant


def _columns(fields: TenantFields) -> dict[str, object]:
    return {
        "name": fields.name.strip(),
        "traffic_class": fields.traffic_class,
        "time_zone": fields.time_zone,
        "residency": sorted(set(fields.residency)),
        "hosted_fallback": fields.hosted_fallback,
        "confidential_only": fields.confidential_only,
    }


def _faults(fields: TenantFields) -> dict[str, str]:
    known_class = fields.traffic_class in CLASSES
    known_zone = fields.time_zone in zones()
    return names.faults(
        name=names.fault_of_name(fields.name),
        residency=names.fault_of_regions(fields.residency),
        traffic_class="" if known_class else f"One of {', '.join(CLASSES)}",
        time_zone="" if known_zone else "A name of the IANA database, as in Europe/Berlin",
    )


def fields_of(tenant: Tenant) -> TenantFields:
    """What a partial change starts from."""
    return TenantFields(
        name=tenant.name,
        traffic_class=tenant.traffic_class,
        time_zone=tenant.time_zone,
        residency=list(tenant.residency),
        hosted_fallback=tenant.hosted_fallback,
        confidential_only=tenant.confidential_only,
    )
