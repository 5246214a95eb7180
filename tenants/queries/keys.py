"""API keys. Secrets are not here: only their digests were kept."""

from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from tenants.errors import NotFound
from tenants.models import ApiKey, Application, Tenant
from tenants.queries.tenants import require_some_view
from tenants.rules.access import Permission, Viewer

STATES = ("live", "expiring", "expired", "revoked")
SOON = timedelta(days=14)


def list_keys(
    viewer: Viewer, *, tenant: Tenant | None = None, application: Application | None = None
) -> QuerySet[ApiKey]:
    """Newest first. Without a tenant: those of all tenants that the viewer may see."""
    rows = ApiKey.objects.select_related("application", "tenant").order_by("-id")
    if tenant is None:
        require_some_view(viewer)
        rows = rows if viewer.is_fleet else rows.filter(tenant__in=viewer.tenant_ids)
    else:
        viewer.require(Permission.VIEW, tenant.pk)
        rows = rows.filter(tenant=tenant)
    return rows.filter(application=application) if application else rows


def in_state(rows: QuerySet[ApiKey], state: str) -> QuerySet[ApiKey]:
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
    if state == "live":
        return rows.filter(live)
    if state == "expiring":
        return rows.filter(live, expires_at__lt=Now() + SOON)
    if state == "expired":
        return rows.filter(revoked_at=None, expires_at__lte=Now())
    if state == "revoked":
        return rows.filter(revoked_at__isnull=False)
    return rows


def count_live(viewer: Viewer, tenant: Tenant) -> tuple[int, int]:
    """How many keys live, and how many of those end soon."""
    live = in_state(list_keys(viewer, tenant=tenant), "live").order_by()
    soon = Count("id", filter=Q(expires_at__lt=Now() + SOON))
    found = live.aggregate(live=Count("id"), soon=soon)
    return found["live"], found["soon"]


def get_key(viewer: Viewer, tenant: Tenant, public_id: str) -> ApiKey:
    key = list_keys(viewer, tenant=tenant).filter(public_id=public_id).first()
    if key is None:
        raise NotFound("No such key")
    return key


def state_of(key: ApiKey, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at and key.expires_at <= now:
        return "expired"
    if key.expires_at and key.expires_at < now + SOON:
        return "expiring"
    return "live"


def search(rows: QuerySet[ApiKey], text: str) -> QuerySet[ApiKey]:
    """By the key's name or public id, its application or its tenant."""
    if not text:
        return rows
    public_id = text.removeprefix("qmk_")[:8]
    return rows.filter(
        Q(name__icontains=text)
        | Q(public_id=public_id)
        | Q(application__slug__icontains=text)
        | Q(tenant__slug__icontains=text)
    )
