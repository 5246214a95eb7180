"""Names and owners of tenants and applications for jobs, in whatever scope is open."""

from collections.abc import Iterable
from dataclasses import dataclass

from tenants.models import Application, Quota, Tenant


@dataclass(frozen=True, slots=True)
class TenantRef:
    id: int
    slug: str
    name: str
    currency: str
    time_zone: str
    demo: bool


@dataclass(frozen=True, slots=True)
class ApplicationRef:
    id: int
    tenant_id: int
    slug: str
    name: str
    cost_centre: str


@dataclass(frozen=True, slots=True)
class BudgetRef:
    """A current quota with a monthly budget. `series` names its counters in the gateway."""

    series: int
    tenant_id: int
    application_id: int | None
    model: str  # empty: all models
    monthly_budget_micros: int


def tenant_refs(ids: Iterable[int] | None = None) -> dict[int, TenantRef]:
    rows = Tenant.objects.all() if ids is None else Tenant.objects.filter(pk__in=list(ids))
    names = ("id", "slug", "name", "currency", "time_zone", "demo")
    return {row[0]: TenantRef(*row) for row in rows.values_list(*names)}


def application_refs(ids: Iterable[int] | None = None) -> dict[int, ApplicationRef]:
    rows = Application.objects.all()
    if ids is not None:
        rows = rows.filter(pk__in=list(ids))
    names = ("id", "tenant_id", "slug", "name", "cost_centre")
    return {row[0]: ApplicationRef(*row) for row in rows.values_list(*names)}


def budget_refs() -> list[BudgetRef]:
    rows = Quota.objects.filter(superseded_at=None, monthly_budget__isnull=False)
    names = ("series", "tenant_id", "application_id", "model", "monthly_budget")
    return [
        BudgetRef(series, tenant_id, application_id, model, int(budget * 1_000_000))
        for series, tenant_id, application_id, model, budget in rows.values_list(*names)
    ]
