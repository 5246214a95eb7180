"""Whose figures a viewer may see. Row level security says the same of rows, not of roles."""

from dataclasses import replace

from billing.queries.charged import ChargeFilter
from tenants.errors import Forbidden
from tenants.rules.access import Permission, Viewer


def visible_tenants(
    viewer: Viewer, tenant_id: int | None, permission: Permission = Permission.VIEW_MONEY
) -> tuple[int, ...] | None:
    """The tenants that a list without a tenant may show; None: all of the fleet."""
    if tenant_id is not None:
        viewer.require(permission, tenant_id)
        return (tenant_id,)
    if viewer.may(permission):
        return None
    mine = tuple(t for t in viewer.tenant_ids if viewer.may(permission, t))
    if not mine:
        raise Forbidden(f"This needs the permission '{permission}', which your roles do not give")
    return mine


def narrowed(viewer: Viewer, wanted: ChargeFilter) -> ChargeFilter:
    """The filter, cut to what the viewer may see."""
    tenants = visible_tenants(viewer, wanted.tenant_id)
    if tenants is None or wanted.tenant_id is not None:
        return wanted
    return replace(wanted, tenant_ids=tenants)


def require_money(viewer: Viewer) -> None:
    """May see money at all: somebody's."""
    visible_tenants(viewer, None)
