"""Receivers of events: add, change, renew the secret, remove; and send an event once more."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.actions.events import TASK, delivery_of
from billing.clients.delivery import make_secret
from billing.clients.vault import seal
from billing.models import EventDelivery, Webhook
from billing.queries.events import get_delivery, get_webhook
from billing.rules.addresses import fault_of_url
from billing.rules.webhooks import OVERLAP, fault_of_kinds
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

MOST = 20  # of one tenant, or of the operator
BYTES = 32  # of a secret; Standard Webhooks asks for 24 to 64


@transaction.atomic
def add_webhook(
    viewer: Viewer, url: str, kinds: Sequence[str], *, tenant_id: int | None = None
) -> tuple[Webhook, str]:
    """Tell an address of a tenant's events, or of all. The secret is told this once."""
    viewer.require(Permission.MANAGE_MONEY, tenant_id)
    url = url.strip()
    _check(url, kinds)
    there = Webhook.objects.filter(tenant_id=tenant_id, removed_at=None)
    if there.filter(url=url).exists():
        raise Conflict("Events go to this address already: change its kinds, or renew its secret")
    if there.count() >= MOST:
        raise Conflict(f"{MOST} receivers are the most: remove one first")
    secret = make_secret(secrets.token_bytes(BYTES))
    row = Webhook.objects.create(
        tenant_id=tenant_id,
        url=url,
        kinds=list(kinds),
        secret=seal(settings.SECRET_KEY, secret),
        created_by=viewer.email,
    )
    record(viewer, "webhook.add", row, after=row)
    return row, secret


@transaction.atomic
def change_webhook(
    viewer: Viewer, webhook_id: int, url: str, kinds: Sequence[str], *, expected: int
) -> Webhook:
    """What comes from now on; deliveries that wait go to the new address."""
    row = _find(viewer, webhook_id)
    url = url.strip()
    _check(url, kinds)
    there = Webhook.objects.filter(tenant_id=row.tenant_id, url=url, removed_at=None)
    if there.exclude(pk=row.pk).exists():
        raise Conflict("Events go to this address already, by another receiver")
    before = picture(row)
    row.change(expected, url=url, kinds=list(kinds))
    record(viewer, "webhook.change", row, before=before, after=row)
    return row


@transaction.atomic
def renew_secret(
    viewer: Viewer, webhook_id: int, *, expected: int, now: datetime
) -> tuple[Webhook, str]:
    """From the next message on; for a day the old secret signs beside it."""
    row = _find(viewer, webhook_id)
    secret = make_secret(secrets.token_bytes(BYTES))
    row.change(
        expected,
        secret=seal(settings.SECRET_KEY, secret),
        previous=row.secret,
        previous_until=now + OVERLAP,
    )
    record(viewer, "webhook.secret", row)
    return row, secret


@transaction.atomic
def remove_webhook(viewer: Viewer, webhook_id: int, *, now: datetime) -> Webhook:
    """Send nothing more to it; what was sent stays in the history."""
    row = _find(viewer, webhook_id)
    row.change(None, removed_at=now)
    record(viewer, "webhook.remove", row, before={"url": row.url, "kinds": row.kinds})
    return row


@transaction.atomic
def send_again(viewer: Viewer, delivery_id: int, *, now: datetime) -> EventDelivery:
    """Deliver once more, under the same id: a receiver that has it already drops it."""
    old = get_delivery(viewer, delivery_id)
    viewer.require(Permission.MANAGE_MONEY, old.tenant_id)
    if old.state == EventDelivery.State.WAITING:
        raise Conflict("It waits for its next try already")
    if old.webhook is not None and old.webhook.removed_at is not None:
        raise Conflict("The receiver was removed: add it again to send to it")
    row = delivery_of(old.event, old.tenant_id, now, webhook=old.webhook, mail=old.mail)
    row.save()
    record(viewer, "event_delivery.send_again", row, after={"event": str(old.event)})
    nudge(TASK)
    return row


def _find(viewer: Viewer, webhook_id: int) -> Webhook:
    row = get_webhook(viewer, webhook_id)
    viewer.require(Permission.MANAGE_MONEY, row.tenant_id)
    return row


def _check(url: str, kinds: Sequence[str]) -> None:
    faults = {}
    if fault := fault_of_url(url, allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY):
        faults["url"] = fault
    if fault := fault_of_kinds(kinds):
        faults["kinds"] = fault
    if faults:
        raise Invalid(**faults)
