"""Tell people that a budget goes to its end: who is told, and what was reached.

A threshold is reached once for each budget and period: its row is the proof, and comes with the
deliveries in one transaction. `billing.drive.alerts` sends them.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from billing.actions.rating import LOCK as RATING_LOCK
from billing.clients.delivery import Refused, make_secret, read_url
from billing.clients.vault import seal
from billing.models import AlertDelivery, AlertSettings, AlertWebhook, BudgetAlert
from billing.queries.alerts import (
    Settings,
    get_delivery,
    get_settings,
    get_webhook,
    list_webhooks,
    settings_of,
)
from billing.queries.budgets import BudgetUse
from billing.queries.money import find_tenant
from billing.rules.alerts import Reached, faults_of_settings, payload, thresholds_reached
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid, Stale
from tenants.nudge import nudge
from tenants.queries.directory import BudgetRef, application_refs, tenant_refs
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import BudgetKind

LOCK = RATING_LOCK + 30  # of advisory locks
MOST_WEBHOOKS = 10


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


@transaction.atomic
def add_webhook(viewer: Viewer, slug: str, url: str, *, now: datetime) -> tuple[AlertWebhook, str]:
    """Send alerts of a tenant to an address. The secret is told this once."""
    tenant = find_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_MONEY, tenant.id)
    url = url.strip()
    try:
        read_url(url, allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY)
    except Refused as refusal:
        raise Invalid(url=str(refusal)) from refusal
    if len(url) > 2000:
        raise Invalid(url="At most 2,000 characters")
    there = list_webhooks(viewer, tenant.id)
    if there.filter(url=url).exists():
        raise Conflict("Alerts go to this address already: remove it first for a new secret")
    if there.count() >= MOST_WEBHOOKS:
        raise Conflict(f"{MOST_WEBHOOKS} receivers are the most: remove one first")
    secret = make_secret(secrets.token_bytes(32))
    row = AlertWebhook.objects.create(
        tenant_id=tenant.id,
        url=url,
        secret=seal(settings.SECRET_KEY, secret),
        created_at=now,
        created_by=viewer.email,
    )
    record(viewer, "alert_webhook.add", row, after={"url": url})
    return row, secret


@transaction.atomic
def remove_webhook(viewer: Viewer, webhook_id: int, *, now: datetime) -> AlertWebhook:
    """Send nothing more to it; what was sent stays in the history."""
    row = get_webhook(viewer, webhook_id)
    viewer.require(Permission.MANAGE_MONEY, row.tenant_id)
    AlertWebhook.objects.filter(pk=row.pk).update(removed_at=now)
    record(viewer, "alert_webhook.remove", row, before={"url": row.url})
    return row


@transaction.atomic
def send_again(viewer: Viewer, delivery_id: int, *, now: datetime) -> AlertDelivery:
    """Deliver once more, under the same id: a receiver that has it already drops it."""
    old = get_delivery(viewer, delivery_id)
    viewer.require(Permission.MANAGE_MONEY, old.tenant_id)
    if old.state == AlertDelivery.State.WAITING:
        raise Conflict("It waits for its next try already")
    if old.webhook is not None and old.webhook.removed_at is not None:
        raise Conflict("The receiver was removed: add it again to send to it")
    row = _delivery(old.alert, old.webhook, old.mail, now)
    row.save()
    record(viewer, "alert_delivery.send_again", row, after={"alert": old.alert_id})
    nudge("billing.tasks.deliver_alerts")
    return row


def _delivery(
    alert: BudgetAlert, webhook: AlertWebhook | None, mail: str, now: datetime
) -> AlertDelivery:
    return AlertDelivery(
        tenant_id=alert.tenant_id,
        alert=alert,
        webhook=webhook,
        mail=mail,
        look_again=now,
        created_at=now,
    )


def fire(used: Sequence[BudgetUse], now: datetime) -> int:
    """Write down which thresholds were reached and whom to tell. In the scope of the fleet."""
    found = _reached(used)
    if not found or not alone():
        return 0
    known = set(
        BudgetAlert.objects.filter(
            series__in={r.series for r in found}, period__in={r.period for r in found}
        ).values_list("series", "kind", "period", "threshold")
    )
    fresh = [r for r in found if (r.series, r.kind.value, r.period, r.threshold) not in known]
    names = _names([use.ref for use in used], fresh)
    for reached in fresh:
        _fire(reached, names[reached.series], now)
    return len(fresh)


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
        payload=payload(reached, names, now),
        at=now,
    )
    tell(alert)


def tell(alert: BudgetAlert) -> None:
    """Write it down with its deliveries, one for each who is told of the tenant's money."""
    alert.save()
    chosen = settings_of([alert.tenant_id])[alert.tenant_id]
    webhooks = AlertWebhook.objects.filter(tenant_id=alert.tenant_id, removed_at=None)
    AlertDelivery.objects.bulk_create(
        [_delivery(alert, hook, "", alert.at) for hook in webhooks.order_by("id")]
        + [_delivery(alert, None, mail, alert.at) for mail in chosen.mails]
    )
    nudge("billing.tasks.deliver_alerts")
