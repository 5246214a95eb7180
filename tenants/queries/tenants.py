"""Tenants and their applications, as far as the viewer may see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, DecimalField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Length, Now

from tenants.errors import Forbidden, NotFound
from tenants.models import ApiKey, Application, ModelGrant, Quota, Tenant
from tenants.rules.access import Permission, Viewer

CLASSES = tuple(value for value, _ in Tenant._meta.get_field("traffic_class").choices or ())
STATES = ("active", "suspended")


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Each field narrows; empty means any."""

    search: str = ""
    traffic_class: str = ""
    state: str = ""
    policy: str = ""  # "confidential", "hosted", "residency"
    model: str = ""


def visible_tenants(viewer: Viewer) -> QuerySet[Tenant]:
    """Row level security says the same; who reads the code sees it here."""
    require_some_view(viewer)
    rows = Tenant.objects.all()
    return rows if viewer.is_fleet else rows.filter(pk__in=viewer.tenant_ids)


def require_some_view(viewer: Viewer) -> None:
    if not viewer.may_somewhere(Permission.VIEW):
        raise Forbidden(f"This needs the permission '{Permission.VIEW}'")


def list_tenants(viewer: Viewer, wanted: TenantFilter | None = None) -> QuerySet[Tenant]:
    """Tenants with counts of what they have: applications, live keys, models, quotas, budget."""
    rows = _narrow(visible_tenants(viewer), wanted or TenantFilter())
    return rows.annotate(
        application_count=_count(Application.objects.all()),
        key_count=_count(live_keys()),
        model_count=_count(ModelGrant.objects.all()),
        quota_count=_count(current_quotas()),
        monthly_budget=Subquery(
            current_quotas()
            .filter(tenant=OuterRef("pk"), application=None, model="")
            .values("monthly_budget")[:1],
            output_field=DecimalField(),
        ),
        last_request_at=Subquery(
            ApiKey.objects.filter(tenant=OuterRef("pk"), last_used_at__isnull=False)
            .order_by("-last_used_at")
            .values("last_used_at")[:1]
        ),
    ).order_by("slug")


def get_tenant(viewer: Viewer, slug: str) -> Tenant:
    tenant = visible_tenants(viewer).filter(slug=slug).first()
    if tenant is None:
        raise NotFound("No such tenant")
    viewer.require(Permission.VIEW, tenant.pk)
    return tenant


def tenants_by_id(viewer: Viewer, ids: Sequence[int]) -> dict[int, Tenant]:
    return {t.pk: t for t in visible_tenants(viewer).filter(pk__in=ids)}


def list_applications(viewer: Viewer, tenant: Tenant) -> QuerySet[Application]:
    viewer.require(Permission.VIEW, tenant.pk)
    rows = Application.objects.filter(tenant=tenant).select_related("tenant")
    live = Q(api_keys__revoked_at=None) & (
        Q(api_keys__expires_at=None) | Q(api_keys__expires_at__gt=Now())
    )
    return rows.annotate(
        key_count=Count("api_keys", filter=live & Q(api_keys__id__isnull=False))
    ).order_by("slug")


def get_application(viewer: Viewer, tenant: Tenant, slug: str) -> Application:
    found = list_applications(viewer, tenant).filter(slug=slug).first()
    if found is None:
        raise NotFound("No such application")
    return found


def list_grants(viewer: Viewer, tenant: Tenant) -> QuerySet[ModelGrant]:
    viewer.require(Permission.VIEW, tenant.pk)
    return ModelGrant.objects.filter(tenant=tenant).order_by("model")


def granted_models(viewer: Viewer, tenant: Tenant) -> list[str]:
    return list(list_grants(viewer, tenant).values_list("model", flat=True))


def known_models(viewer: Viewer) -> list[str]:
    """Every model name that some visible tenant was granted."""
    require_some_view(viewer)
    names = ModelGrant.objects.values_list("model", flat=True)
    return list(names.distinct().order_by("model"))


def live_keys() -> QuerySet[ApiKey]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=Now())
    return ApiKey.objects.filter(unexpired, revoked_at=None)


def current_quotas() -> QuerySet[Quota]:
    return Quota.objects.filter(superseded_at=None)


def _count(rows: QuerySet[ApiKey] | QuerySet[Quota] | QuerySet[Application] | QuerySet[ModelGrant]):  # type: ignore[no-untyped-def]  # noqa: ANN202  # an expression of the ORM
    counted = rows.filter(tenant=OuterRef("pk")).order_by().values("tenant")
    return Coalesce(Subquery(counted.annotate(n=Count("*")).values("n")), 0)


def _narrow(rows: QuerySet[Tenant], wanted: TenantFilter) -> QuerySet[Tenant]:
    if wanted.search:
        by_application = Application.objects.filter(slug__icontains=wanted.search)
        rows = rows.filter(
            Q(slug__icontains=wanted.search)
            | Q(name__icontains=wanted.search)
            | Q(pk__in=by_application.values("tenant_id"))
        )
    if wanted.traffic_class:
        rows = rows.filter(traffic_class=wanted.traffic_class)
    if wanted.state:
        rows = rows.filter(suspended_at__isnull=wanted.state != "suspended")
    if wanted.model:
        rows = rows.filter(grants__model=wanted.model)
    return _narrow_by_policy(rows, wanted.policy)


def _narrow_by_policy(rows: QuerySet[Tenant], policy: str) -> QuerySet[Tenant]:
    if policy == "confidential":
        return rows.filter(confidential_only=True)
    if policy == "hosted":
        return rows.filter(hosted_fallback=True)
    if policy == "residency":
        return rows.exclude(residency=[])
    return rows


def find_tenants(viewer: Viewer, text: str) -> QuerySet[Tenant]:
    """For the palette: by short or long name, the best match first."""
    named = Q(slug__icontains=text) | Q(name__icontains=text)
    return visible_tenants(viewer).filter(named).order_by(Length("slug"), "slug")


def find_applications(viewer: Viewer, text: str) -> QuerySet[Application]:
    require_some_view(viewer)
    rows = Application.objects.select_related("tenant")
    if not viewer.is_fleet:
        rows = rows.filter(tenant__in=viewer.tenant_ids)
    named = Q(slug__icontains=text) | Q(name__icontains=text)
    return rows.filter(named).order_by(Length("slug"), "slug", "tenant__slug")
