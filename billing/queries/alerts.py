"""Alerts of budgets: settings, and what was reached."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet

from billing.models import AlertSettings, BudgetAlert
from billing.queries.visibility import visible_tenants
from billing.rules.alerts import THRESHOLDS
from tenants.rules.access import Permission, Viewer


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


def list_alerts(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[BudgetAlert]:
    """Newest first."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = BudgetAlert.objects.select_related("event").order_by("-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)
