"""Alerts of budgets: settings, receivers, what was reached and whether it was delivered."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet

from billing.models import AlertDelivery, AlertSettings, AlertWebhook, BudgetAlert
from billing.queries.visibility import visible_tenants
from billing.rules.alerts import THRESHOLDS
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

UNSEEN = "There is nothing here, or it is not yours to see"


@dataclass(frozen=True, slots=True)
class Settings:
    tenant_id: int
    thresholds: tuple[int, ...]
    mails: tuple[str, ...]
    version: int  # 0: defaults, nobody chose

    @property
    def etag(self) -> str:
        return f'"{self.tenant_id}-{self.version}"'

    @property
    def mail_works(self) -> bool:
        return bool(settings.EMAIL_HOST)


def get_settings(viewer: Viewer, tenant_id: int) -> Settings:
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    return settings_of([tenant_id])[tenant_id]


def settings_of(tenant_ids: Iterable[int]) -> dict[int, Settings]:
    """In the scope that is open."""
    wanted = set(tenant_ids)
    found = {
        row.tenant_id: Settings(row.tenant_id, tuple(row.thresholds), tuple(row.mails), row.version)
        for row in AlertSettings.objects.filter(tenant_id__in=wanted)
    }
    return {pk: found.get(pk) or Settings(pk, THRESHOLDS, (), 0) for pk in wanted}


def list_webhooks(viewer: Viewer, tenant_id: int) -> QuerySet[AlertWebhook]:
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    rows = AlertWebhook.objects.filter(tenant_id=tenant_id, removed_at=None)
    return rows.defer("secret").order_by("-id")


def get_webhook(viewer: Viewer, webhook_id: int) -> AlertWebhook:
    row = AlertWebhook.objects.filter(pk=webhook_id, removed_at=None).first()
    if row is None:
        raise NotFound(UNSEEN)
    viewer.require(Permission.VIEW_MONEY, row.tenant_id)
    return row


def list_alerts(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[BudgetAlert]:
    """Newest first."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = BudgetAlert.objects.order_by("-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def list_deliveries(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[AlertDelivery]:
    """Newest first."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = AlertDelivery.objects.select_related("alert", "webhook").order_by("-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def get_delivery(viewer: Viewer, delivery_id: int) -> AlertDelivery:
    row = AlertDelivery.objects.filter(pk=delivery_id).select_related("webhook").first()
    if row is None:
        raise NotFound(UNSEEN)
    viewer.require(Permission.VIEW_MONEY, row.tenant_id)
    return row
