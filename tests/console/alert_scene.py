"""Budgets on a scene: two thresholds reached, told to a webhook that failed once; an odd day.

And a minimum of globex that ends soon.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from billing.actions.alerts import change_settings, fire
from billing.actions.contracts import create_contract
from billing.actions.prices import draft_version
from billing.actions.publication import publish_version
from billing.actions.webhooks import add_webhook
from billing.models import EventDelivery, SpendAnomaly
from billing.queries.budgets import BudgetUse
from billing.rules.prices import read_line
from billing.rules.webhooks import KINDS
from tenants.queries.directory import budget_refs, tenant_refs
from tenants.rules.quotas import month_of
from tests.billing.factories import SYSTEM


def furnish_alerts(scene: SimpleNamespace, now: datetime) -> None:
    acme = scene.tenants[0]
    change_settings(
        SYSTEM, "acme", thresholds=(50, 80, 100), mails=("money@acme.example",), expected=0
    )
    url = "https://finance.acme.example/quartermaster"
    scene.webhook, _ = add_webhook(SYSTEM, url, KINDS, tenant_id=acme.pk)
    add_webhook(SYSTEM, "https://erp.example.com/events", ("period.closed", "invoice.issued"))
    month = month_of(now, "UTC")
    fire([BudgetUse(b, month, b.limit * 85 // 100) for b in budget_refs([acme.pk])], now)
    tried = EventDelivery.objects.exclude(webhook=None).order_by("id")
    tried.update(tries=1, answered=503, why="It answered 503", tried_at=now)
    EventDelivery.objects.filter(webhook=None).update(
        state="done", tries=1, tried_at=now, look_again=None
    )
    promise_minimum(scene.tenants[1].pk, now)
    SpendAnomaly.objects.create(
        tenant_id=acme.pk, day=(now - timedelta(days=2)).date(), model="chat-small",
        currency="USD", amount=Decimal("4.25"), usual=Decimal("1.64"), low=Decimal("1.23"),
        high=Decimal("2.05"), found_at=now,
    )  # fmt: skip


def promise_minimum(tenant_id: int, now: datetime) -> None:
    book = create_contract(SYSTEM, tenant_refs([tenant_id])[tenant_id])
    prices = [read_line("", "commitment", "commitment 100")]
    draft = draft_version(SYSTEM, book.slug, prices=prices, why="agreed")
    hour = now.replace(minute=0, second=0, microsecond=0)
    publish_version(
        SYSTEM, book.slug, draft.number, starts_at=hour, ends_at=hour + timedelta(days=20),
        now=now, why="agreed",
    )  # fmt: skip
