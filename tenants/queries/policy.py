"""The policy that gateways should have, from the rows that hold now."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from gateway.contract import policy as contract
from gateway.contract.outcomes import TrafficClass
from tenants.models import ApiKey, ModelGrant, PublishedPrice, Quota, Tenant
from tenants.rules.quotas import FIELD_OF_BUDGET, micros, month_of

# An expired key is told for a while, so that its owner reads "expired" and not "unknown".
TELL_EXPIRED = timedelta(days=30)
CLASSES = {c.value: c for c in TrafficClass}
# Plain columns: the sweep reads every live key every few seconds.
KEY_COLUMNS = (
    "digest", "id", "tenant_id", "application_id", "application__slug", "traffic_class", "scopes",
    "served_models", "expires_at",
)  # fmt: skip


def build_policy(now: datetime) -> contract.PolicySnapshot:
    """The content without version and time of issue; the same rows make the same bytes."""
    zones: dict[int, str] = {}
    tenants = {}
    granted = _granted()
    for row in Tenant.objects.order_by("id"):
        zones[row.pk] = row.time_zone
        tenants[row.pk] = _tenant(row, tuple(granted.get(row.pk, ())))
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now - TELL_EXPIRED)
    keys = ApiKey.objects.filter(unexpired, revoked_at=None).order_by("id")
    quotas = Quota.objects.filter(superseded_at=None).order_by("series")
    return contract.PolicySnapshot(
        version=0,
        issued_at=0.0,
        tenants=tenants,
        keys={row[0]: _key(*row[1:]) for row in keys.values_list(*KEY_COLUMNS)},
        limits=tuple(_limit(q, now, zones[q.tenant_id]) for q in quotas),
        prices={p.model: _price(p) for p in PublishedPrice.objects.order_by("model")},
    )


def _granted() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    rows = ModelGrant.objects.order_by("tenant_id", "model")
    for tenant_id, model in rows.values_list("tenant_id", "model"):
        found.setdefault(tenant_id, []).append(model)
    return found


def _tenant(row: Tenant, models: tuple[str, ...]) -> contract.Tenant:
    return contract.Tenant(
        id=row.pk,
        slug=row.slug,
        traffic_class=TrafficClass(row.traffic_class),
        models=models,
        data_policy=contract.DataPolicy(
            residency=tuple(row.residency),
            hosted_fallback=row.hosted_fallback,
            confidential_only=row.confidential_only,
        ),
        suspended=row.suspended_at is not None,
        salt_epoch=row.salt_epoch,
        demo=row.demo,
    )


def _key(
    pk: int,
    tenant_id: int,
    application_id: int,
    application: str,
    traffic_class: str,
    scopes: list[str],
    models: list[str] | None,
    expires_at: datetime | None,
) -> contract.ApiKey:
    return contract.ApiKey(
        id=pk,
        tenant_id=tenant_id,
        application_id=application_id,
        application=application,
        traffic_class=CLASSES[traffic_class],
        scopes=tuple(scopes),
        models=None if models is None else tuple(models),
        expires_at=expires_at.timestamp() if expires_at else None,
    )


def _limit(row: Quota, now: datetime, time_zone: str) -> contract.Limit:
    """`id` is the series, so that a new version goes on counting where the old one was."""
    budget: dict[str, Any] = {}
    if any(getattr(row, name) is not None for name in FIELD_OF_BUDGET.values()):
        month = month_of(now, time_zone)
        money = row.monthly_budget
        budget = {
            "budget_micros": None if money is None else micros(money),
            "budget_input_tokens": row.monthly_input_tokens,
            "budget_output_tokens": row.monthly_output_tokens,
            "budget_tokens": row.monthly_tokens,
            "budget_period": month.name,
            "budget_ends_at": month.ends_at.timestamp(),
        }
    return contract.Limit(
        id=row.series,
        version=row.version,
        tenant_id=row.tenant_id,
        application_id=row.application_id,
        model=row.model or None,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        concurrency=row.concurrency,
        **budget,
    )


def _price(row: PublishedPrice) -> contract.Price:
    return contract.Price(
        version=row.version, prompt=row.prompt, cached=row.cached, completion=row.completion
    )
