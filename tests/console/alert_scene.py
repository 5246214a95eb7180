"""Budgets on a scene: two thresholds reached, told to a webhook that failed once; an odd day."""

from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from billing.actions.alerts import change_settings, fire
from billing.actions.webhooks import add_webhook
from billing.clients.counters import Spent
from billing.models import EventDelivery, SpendAnomaly
from billing.rules.webhooks import KINDS
from tenants.queries.directory import budget_refs
from tests.billing.factories import SYSTEM


def furnish_alerts(scene: SimpleNamespace, now: datetime) -> None:
    acme = scene.tenants[0]
    change_settings(
        SYSTEM, "acme", thresholds=(50, 80, 100), mails=("money@acme.example",), expected=0
    )
    url = "https://finance.acme.example/quartermaster"
    scene.webhook, _ = add_webhook(SYSTEM, url, KINDS, tenant_id=acme.pk)
    add_webhook(SYSTEM, "https://erp.example.com/events", ("period.closed", "invoice.issued"))
    budgets = [b for b in budget_refs() if b.tenant_id == acme.pk]
    spent = [
        Spent(b.tenant_id, b.series, f"{now:%Y-%m}", b.monthly_budget_micros * 85 // 100, 60)
        for b in budgets
    ]
    fire(budgets, spent, now)
    tried = EventDelivery.objects.exclude(webhook=None).order_by("id")
    tried.update(tries=1, answered=503, why="It answered 503", tried_at=now)
    EventDelivery.objects.filter(webhook=None).update(
        state="done", tries=1, tried_at=now, look_again=None
    )
    SpendAnomaly.objects.create(
        tenant_id=acme.pk, day=(now - timedelta(days=2)).date(), model="chat-small",
        currency="USD", amount=Decimal("4.25"), usual=Decimal("1.64"), low=Decimal("1.23"),
        high=Decimal("2.05"), found_at=now,
    )  # fmt: skip
