"""Quotas that hold now, and the versions before them."""

from django.db.models import F, QuerySet

from tenants.errors import NotFound
from tenants.models import Quota, Tenant
from tenants.queries.tenants import require_some_view
from tenants.rules.access import Permission, Viewer


def list_quotas(viewer: Viewer, *, tenant: Tenant | None = None) -> QuerySet[Quota]:
    """Current quotas: the tenant's own first, then its applications', then by model."""
    rows = Quota.objects.filter(superseded_at=None).select_related("tenant", "application")
    if tenant is None:
        require_some_view(viewer)
        rows = rows if viewer.is_fleet else rows.filter(tenant__in=viewer.tenant_ids)
    else:
        viewer.require(Permission.VIEW, tenant.pk)
        rows = rows.filter(tenant=tenant)
    whole_first = F("application__slug").asc(nulls_first=True)
    return rows.order_by("tenant__slug", whole_first, "model", "id")


def quota_history(viewer: Viewer, series: int) -> QuerySet[Quota]:
    """All versions of one series, newest first."""
    require_some_view(viewer)
    rows = Quota.objects.filter(series=series).select_related("tenant", "application")
    if not viewer.is_fleet:
        rows = rows.filter(tenant__in=viewer.tenant_ids)
    return rows.order_by("-version")


def get_quota(viewer: Viewer, series: int) -> Quota:
    """The newest version of a series, which may have been cleared."""
    quota = quota_history(viewer, series).first()
    if quota is None:
        raise NotFound("No such quota")
    viewer.require(Permission.VIEW, quota.tenant_id)
    return quota


def quota_of(
    viewer: Viewer, tenant: Tenant, *, application_id: int | None = None, model: str = ""
) -> Quota | None:
    rows = list_quotas(viewer, tenant=tenant)
    return rows.filter(application=application_id, model=model).first()


def quota_changes(viewer: Viewer, tenant: Tenant, *, limit: int = 20) -> list[Quota]:
    """The newest versions of any quota of a tenant: markers on its charts."""
    viewer.require(Permission.VIEW, tenant.pk)
    rows = Quota.objects.filter(tenant=tenant).select_related("application")
    return list(rows.order_by("-valid_from")[:limit])


def narrow(rows: QuerySet[Quota], *, tenant: str = "", model: str = "") -> QuerySet[Quota]:
    if tenant:
        rows = rows.filter(tenant__slug__icontains=tenant)
    return rows.filter(model__icontains=model) if model else rows
