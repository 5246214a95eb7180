"""Events of finance, their receivers and deliveries, as far as the viewer may see them."""

from django.db.models import QuerySet

from billing.models import EventDelivery, FinanceEvent, Webhook
from billing.queries.visibility import visible_tenants
from tenants.errors import NotFound
from tenants.rules.access import Viewer

UNSEEN = "There is nothing here, or it is not yours to see"


def list_webhooks(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[Webhook]:
    """Newest first. A tenant's people see their own, never the operator's."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = Webhook.objects.filter(removed_at=None).defer("secret", "previous").order_by("-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def get_webhook(viewer: Viewer, webhook_id: int) -> Webhook:
    row = list_webhooks(viewer).filter(pk=webhook_id).first()
    if row is None:
        raise NotFound(UNSEEN)
    return row


def list_events(
    viewer: Viewer, *, tenant_id: int | None = None, kind: str = ""
) -> QuerySet[FinanceEvent]:
    """Newest first, whether anybody was told or not."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = FinanceEvent.objects.order_by("-id")
    rows = rows.filter(kind=kind) if kind else rows
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def list_deliveries(
    viewer: Viewer,
    *,
    tenant_id: int | None = None,
    webhook_id: int | None = None,
    kind: str = "",
    state: str = "",
) -> QuerySet[EventDelivery]:
    """Newest first. `tenant_id` is the receiver's."""
    tenants = visible_tenants(viewer, tenant_id)
    given = {"webhook_id": webhook_id, "event__kind": kind, "state": state}
    rows = EventDelivery.objects.filter(**{n: v for n, v in given.items() if v})
    unread = "webhook__secret", "webhook__previous", "event__payload"
    rows = rows.select_related("event", "webhook").defer(*unread)
    return (rows if tenants is None else rows.filter(tenant_id__in=tenants)).order_by("-id")


def get_delivery(viewer: Viewer, delivery_id: int) -> EventDelivery:
    row = list_deliveries(viewer).filter(pk=delivery_id).first()
    if row is None:
        raise NotFound(UNSEEN)
    return row
