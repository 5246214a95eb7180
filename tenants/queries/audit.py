"""The record of who did what, filtered; one's own acts wherever they were."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from tenants.errors import NotFound
from tenants.models import AuditEvent, Tenant
from tenants.queries.tenants import require_some_view
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Each field narrows; empty means any."""

    actor: str = ""
    verb: str = ""  # "key.revoke", or "key" for all verbs of keys
    target_kind: str = ""
    target_id: str = ""
    tenant: str = ""  # slug
    search: str = ""  # in names, reasons, request ids
    since: datetime | None = None
    until: datetime | None = None


def list_events(viewer: Viewer, wanted: AuditFilter | None = None) -> QuerySet[AuditEvent]:
    """Newest first. A tenant's people see the events of their tenant."""
    require_some_view(viewer)
    rows = AuditEvent.objects.order_by("-id")
    if not viewer.is_fleet:
        rows = rows.filter(tenant_id__in=viewer.tenant_ids)
    return narrow(rows, wanted or AuditFilter())


def own_events(viewer: Viewer) -> QuerySet[AuditEvent]:
    """What the viewer did himself. Read it in `fleet_scope`: it includes rows of no tenant."""
    if viewer.user_id is None:
        return AuditEvent.objects.none()
    return AuditEvent.objects.filter(actor_id=viewer.user_id).order_by("-id")


def events_by(viewer: Viewer, user_id: int) -> QuerySet[AuditEvent]:
    """What one person did, as far as the viewer may see it."""
    return list_events(viewer).filter(actor_id=user_id)


def get_event(viewer: Viewer, event_id: int) -> AuditEvent:
    event = list_events(viewer).filter(pk=event_id).first()
    if event is None:
        raise NotFound("No such event")
    return event


def events_of_tenant(viewer: Viewer, tenant: Tenant) -> QuerySet[AuditEvent]:
    viewer.require(Permission.VIEW, tenant.pk)
    return AuditEvent.objects.filter(tenant_id=tenant.pk).order_by("-id")


def events_of(viewer: Viewer, kind: str, target_id: int | str) -> QuerySet[AuditEvent]:
    """What happened to one object: the Activity of its page."""
    return list_events(viewer, AuditFilter(target_kind=kind, target_id=str(target_id)))


def narrow(rows: QuerySet[AuditEvent], wanted: AuditFilter) -> QuerySet[AuditEvent]:
    if wanted.actor:
        rows = rows.filter(actor__icontains=wanted.actor)
    if wanted.verb:
        rows = rows.filter(Q(verb=wanted.verb) | Q(verb__startswith=f"{wanted.verb}."))
    if wanted.target_kind:
        rows = rows.filter(target_kind=wanted.target_kind)
    if wanted.target_id:
        rows = rows.filter(target_id=wanted.target_id)
    if wanted.tenant:
        rows = rows.filter(tenant_id__in=Tenant.objects.filter(slug=wanted.tenant).values("pk"))
    if wanted.since:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(at__lt=wanted.until)
    return _search(rows, wanted.search)


def _search(rows: QuerySet[AuditEvent], text: str) -> QuerySet[AuditEvent]:
    if not text:
        return rows
    in_text = Q(target_name__icontains=text) | Q(why__icontains=text) | Q(verb__icontains=text)
    return rows.filter(in_text | Q(request_id=text) | Q(target_id=text))
