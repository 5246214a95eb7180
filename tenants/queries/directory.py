"""Names and owners of tenants and applications for jobs, in whatever scope is open."""

from collections.abc import Iterable
from dataclasses import dataclass

from tenants.models import Application, Quota, Tenant, UsageSource
from tenants.rules.quotas import FIELD_OF_BUDGET, BudgetKind, micros


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
    """A monthly budget of a current quota. `series` names its counters in the gateway."""

    series: int
    tenant_id: int
    application_id: int | None
    model: str  # empty: all models
    kind: BudgetKind
    limit: int  # tokens, or micro-units of the tenant's currency


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


def source_names() -> dict[int, str]:
    """Usage sources by id: whose events these are."""
    return dict(UsageSource.objects.values_list("id", "name"))


def tenants_of_source(source_id: int) -> frozenset[int]:
    """For whom a source may report; empty: for all."""
    rows = UsageSource.objects.filter(pk=source_id).values_list("tenant_ids", flat=True)
    return frozenset(rows.first() or ())


def named_applications(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    """Ids of tenant and application by their slugs; what does not exist is not in it."""
    wanted = set(names)
    rows = Application.objects.filter(
        tenant__slug__in={tenant for tenant, _ in wanted}, slug__in={app for _, app in wanted}
    )
    found = rows.values_list("tenant__slug", "slug", "tenant_id", "id")
    return {(tenant, app): (tenant_id, pk) for tenant, app, tenant_id, pk in found}


def budget_refs(ids: Iterable[int] | None = None) -> list[BudgetRef]:
    """Up to one of each kind for each current quota; `ids`: of these tenants only."""
    rows = Quota.objects.filter(superseded_at=None).order_by("series")
    if ids is not None:
        rows = rows.filter(tenant_id__in=list(ids))
    # Values, not instances: every tenant has one, and the first page asks for all.
    fields = ("series", "tenant_id", "application_id", "model")
    limits = (FIELD_OF_BUDGET[kind] for kind in BudgetKind)
    return [
        BudgetRef(
            *(series, tenant, application, model),
            *(kind, micros(limit) if kind is BudgetKind.MONEY else limit),
        )
        for series, tenant, application, model, *found in rows.values_list(*fields, *limits)
        for kind, limit in zip(BudgetKind, found, strict=True)
        if limit is not None
    ]
