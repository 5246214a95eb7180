"""Applications: the cost centres of a tenant."""

from django.db import IntegrityError, transaction

from tenants.actions.audit import picture, record
from tenants.errors import Invalid
from tenants.models import Application, Tenant
from tenants.nudge import nudge
from tenants.queries.tenants import get_application, get_tenant
from tenants.rules import names
from tenants.rules.access import Permission, Viewer

LONGEST_COST_CENTRE = 64


@transaction.atomic
def create_application(
    viewer: Viewer, tenant_slug: str, *, slug: str, name: str, cost_centre: str = ""
) -> Application:
    tenant = _tenant(viewer, tenant_slug)
    _check(name, cost_centre, slug=names.fault_of_slug(slug))
    row = Application(tenant=tenant, slug=slug, name=name.strip(), cost_centre=cost_centre.strip())
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Invalid(slug=f"{tenant_slug} has an application {slug} already") from error
    record(viewer, "application.create", row, after=row)
    nudge("tenants.tasks.publish_policy")
    return row


@transaction.atomic
def change_application(
    viewer: Viewer,
    tenant_slug: str,
    slug: str,
    *,
    name: str,
    cost_centre: str = "",
    expected: int | None = None,
) -> Application:
    tenant = _tenant(viewer, tenant_slug)
    row = get_application(viewer, tenant, slug)
    _check(name, cost_centre)
    before = picture(row)
    row.change(expected, name=name.strip(), cost_centre=cost_centre.strip())
    record(viewer, "application.change", row, before=before, after=row)
    return row


def _tenant(viewer: Viewer, slug: str) -> Tenant:
    tenant = get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    return tenant


def _check(name: str, cost_centre: str, *, slug: str = "") -> None:
    long = len(cost_centre) > LONGEST_COST_CENTRE
    faults = names.faults(
        slug=slug,
        name=names.fault_of_name(name),
        cost_centre=f"At most {LONGEST_COST_CENTRE} characters" if long else "",
    )
    if faults:
        raise Invalid(**faults)
