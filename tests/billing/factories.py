"""Plain functions that make what billing needs, with every field open to change."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.actions.ingest import ingest
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.models import PriceBook
from billing.rules.prices import PriceLine
from tenants.base.scope import fleet_scope
from tenants.models import Application, Tenant, UsageSource
from tenants.rules.access import Binding, Permission, Role, Viewer, system_viewer

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
HOUR = datetime(2026, 11, 20, 12, tzinfo=UTC)
SYSTEM = system_viewer("tests")
PRICES = {
    "chat": {"prompt": Decimal("0.50"), "cached": Decimal("0.05"), "completion": Decimal("1.50")},
    "code": {"prompt": Decimal("1.25"), "cached": Decimal("0.125"), "completion": Decimal("5")},
}


def make_tenant(slug, **fields):
    with fleet_scope():
        tenant = Tenant.objects.create(slug=slug, name=slug.title(), **fields)
        tenant.app = Application.objects.create(tenant=tenant, slug="app", name="App")
    return tenant


def make_source(name="gateway"):
    row = UsageSource.objects.create(name=name, public_id=name[:8], digest=uuid.uuid4().hex * 2)
    return Viewer(
        user_id=None,
        email=f"source:{name}",
        allowed=frozenset({Permission.INGEST_USAGE}),
        via="source",
        source_id=row.pk,
    )


def viewer(role, tenant=None, email="somebody@example.com"):
    return Viewer(
        user_id=None, email=email, bindings=(Binding(Role(role), tenant.pk if tenant else None),)
    )


def usage(tenant, *, at=NOW, **changes):
    """The data of one event: a served request of 100 prompt tokens that ended at `at`."""
    ended = round(at.timestamp() * 1_000_000)
    return {
        "schema": 1,
        "request_id": str(uuid.uuid4()),
        "tenant_id": tenant.pk,
        "application_id": tenant.app.pk,
        "credential_id": 7,
        "model": "chat",
        "service_id": 1,
        "deployment_id": 2,
        "release_id": 3,
        "release": "rel-0123456789ab",
        "cluster": "dc1",
        "pod": "chat-0",
        "traffic_class": "interactive",
        "outcome": "served",
        "stream": True,
        "http_status": 200,
        "finish_reason": "stop",
        "usage_quality": "final",
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "completion_tokens": 30,
        "started_at": ended - 800_000,
        "finished_at": ended,
        "queue_ms": 1.5,
        "ttft_ms": 120.0,
        "itl_ms": 20.0,
        "gpu_ms": 700,
    } | changes


def cloud(data, **changes):
    return {
        "specversion": "1.0",
        "id": data["request_id"],
        "source": "gateway/w0",
        "type": "quartermaster.usage.v1",
        "time": "2026-11-20T12:30:00Z",
        "data": data,
    } | changes


def batch(*data):
    return json.dumps([cloud(d) for d in data]).encode()


def at(**ago):
    return NOW - timedelta(**ago)


def lines(prices=PRICES, **classes):
    return [
        PriceLine(model, meter, price)
        for model, meters in prices.items()
        for meter, price in meters.items()
    ]


def make_prices(prices=PRICES, *, more=(), starts_at=datetime(2026, 1, 1, tzinfo=UTC), now=NOW):
    """A published version of the USD book; the book is made when missing."""
    with fleet_scope():
        if not PriceBook.objects.filter(slug="list").exists():
            create_book(SYSTEM, slug="list", name="List prices", currency="USD")
        draft = draft_version(SYSTEM, "list", prices=[*lines(prices), *more], why="tests")
        return publish_version(
            SYSTEM, "list", draft.number, starts_at=starts_at, now=now, why="tests"
        )


def load(source, *data, now=NOW):
    """Deliver, roll up and rate, the running hour included."""
    receipt = ingest(source, batch(*data), now=now)
    assert receipt.accepted == len(data), receipt
    settle(now)


def settle(now=NOW):
    while roll_up(now):
        pass
    while rate_due(now, early=True).hours:
        pass
