"""Tell finance systems what happened: in the transaction of the fact, so neither is without the
other. `billing.drive.events` sends what is written here."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q

from billing.models import EventDelivery, FinanceEvent, Webhook
from billing.rules.webhooks import Kind, message_of
from tenants.base.scope import fleet_scope
from tenants.nudge import nudge
from tenants.queries.directory import tenant_refs

TASK = "billing.tasks.deliver_events"


def tell(
    kind: Kind,
    subject: str,
    data: Mapping[str, Any],
    *,
    tenant_id: int | None,
    now: datetime,
    mails: Iterable[str] = (),
) -> FinanceEvent:
    """Write the event, and a delivery for every receiver that asked for its kind.

    Receivers of the operator count as well, which a tenant's own people do not see.
    """
    with fleet_scope():
        whose = tenant_refs([tenant_id])[tenant_id].slug if tenant_id else ""
        event = FinanceEvent.objects.create(
            tenant_id=tenant_id,
            kind=kind.value,
            subject=subject[:200],
            payload=message_of(kind, {"tenant": whose, **data}, now),
            at=now,
        )
        hooks = Webhook.objects.filter(
            Q(tenant_id=tenant_id) | Q(tenant_id=None), kinds__contains=[kind], removed_at=None
        )
        made = [delivery_of(event, hook.tenant_id, now, webhook=hook) for hook in hooks]
        made += [delivery_of(event, tenant_id, now, mail=mail) for mail in mails]
        EventDelivery.objects.bulk_create(made)
    if made:
        nudge(TASK)
    return event


def delivery_of(
    event: FinanceEvent,
    tenant_id: int | None,
    now: datetime,
    *,
    webhook: Webhook | None = None,
    mail: str = "",
) -> EventDelivery:
    return EventDelivery(
        tenant_id=tenant_id,
        event=event,
        webhook=webhook,
        mail=mail,
        look_again=now,
        created_at=now,
    )
