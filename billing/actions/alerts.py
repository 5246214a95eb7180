"""Tell people that a budget goes to its end: from when on, and what was reached.

A threshold is reached once for each budget and period: its row is the proof, and comes with the
event that tells of it in one transaction. A budget with another limit is another one: whoever
raised it is warned again before that is used up too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from billing.actions.events import tell
from billing.actions.rating import LOCK as RATING_LOCK
from billing.models import AlertSettings, BudgetAlert
from billing.queries.alerts import Settings, get_settings, settings_of
from billing.queries.budgets import BudgetUse
from billing.queries.money import find_tenant
from billing.rules.alerts import Reached, facts, faults_of_settings, thresholds_reached
from billing.rules.webhooks import Kind
from tenants.actions.audit import picture, record
from tenants.errors import Invalid, Stale
from tenants.queries.directory import BudgetRef, application_refs, tenant_refs
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import BudgetKind

LOCK = RATING_LOCK + 30  # of advisory locks


@transaction.atomic
def change_settings(
    viewer: Viewer, slug: str, *, thresholds: Sequence[int], mails: Sequence[str], expected: int
) -> Settings:
    """Choose thresholds and mail addresses. `expected` is the version read, 0 for none."""
    tenant = find_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_MONEY, tenant.id)
    if faults := faults_of_settings(thresholds, mails):
        raise Invalid(**faults)
    before = get_settings(viewer, tenant.id)
    fields = {"thresholds": sorted(thresholds), "mails": list(mails)}
    row = AlertSettings.objects.filter(tenant_id=tenant.id).first()
    if row is not None and expected:
        row.change(expected, **fields)
    else:
        row, is_new = AlertSettings.objects.get_or_create(tenant_id=tenant.id, defaults=fields)
        if not is_new or expected:
            raise Stale("Somebody else changed this meanwhile: look at it again, then retry")
    old = {"thresholds": list(before.thresholds), "mails": list(before.mails)}
    record(viewer, "alert_settings.change", row, before=old, after=picture(row))
    return get_settings(viewer, tenant.id)


def fire(used: Sequence[BudgetUse], now: datetime) -> int:
    """Write down which thresholds were reached and whom to tell. In the scope of the fleet."""
    found = _reached(used)
    if not found or not alone():
        return 0
    known = set(
        BudgetAlert.objects.filter(
            series__in={r.series for r in found}, period__in={r.period for r in found}
        ).values_list("series", "kind", "period", "threshold", "budget")
    )
    fresh = [r for r in found if _key(r) not in known]
    names = _names([use.ref for use in used], fresh)
    for reached in fresh:
        _fire(reached, names[reached.series], now)
    return len(fresh)


def _key(reached: Reached) -> tuple[int, str, str, int, Decimal]:
    of = reached.series, reached.kind.value, reached.period
    return *of, reached.threshold, reached.budget


def alone() -> bool:
    """Until the transaction ends, no other worker fires: it would tell the same twice."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _reached(used: Sequence[BudgetUse]) -> list[Reached]:
    chosen = settings_of(use.ref.tenant_id for use in used)
    return [
        Reached(
            tenant_id=use.ref.tenant_id,
            series=use.ref.series,
            kind=use.ref.kind,
            period=use.month.name,
            threshold=threshold,
            budget=use.limit,
            spent=use.spent,
        )
        for use in used
        for threshold in thresholds_reached(
            use.limit, use.spent, chosen[use.ref.tenant_id].thresholds
        )
    ]


def _names(budgets: Sequence[BudgetRef], fresh: Sequence[Reached]) -> dict[int, dict[str, Any]]:
    """By series: what people call the budget."""
    wanted = {r.series for r in fresh}
    mine = [b for b in budgets if b.series in wanted]
    tenants = tenant_refs({b.tenant_id for b in mine})
    applications = application_refs({b.application_id for b in mine if b.application_id})
    return {
        b.series: {
            "tenant": tenants[b.tenant_id].slug,
            "application": applications[b.application_id].slug if b.application_id else "",
            "model": b.model,
            "currency": tenants[b.tenant_id].currency,
        }
        for b in mine
    }


def _fire(reached: Reached, names: dict[str, Any], now: datetime) -> None:
    if reached.kind is not BudgetKind.MONEY:
        names = names | {"currency": ""}
    alert = BudgetAlert(
        tenant_id=reached.tenant_id,
        series=reached.series,
        kind=reached.kind.value,
        period=reached.period,
        threshold=reached.threshold,
        budget=reached.budget,
        spent=reached.spent,
        currency=names["currency"],
        at=now,
    )
    said = f"{reached.threshold} % in {reached.period}"
    keep_alert(alert, Kind.BUDGET, said, facts(reached, names))


def keep_alert(alert: BudgetAlert, kind: Kind, subject: str, data: Mapping[str, Any]) -> None:
    """Write it down with the event that tells of it, to each who is told of the tenant's money."""
    chosen = settings_of([alert.tenant_id])[alert.tenant_id]
    alert.event = tell(
        kind, subject, data, tenant_id=alert.tenant_id, now=alert.at, mails=chosen.mails
    )
    alert.save()
