"""The operations of the finance API as its OpenAPI document has them; rows to name; good bodies."""

import re
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import schemathesis
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from billing import urls
from billing.models import BillingPeriod, EventDelivery, ExportJob, Reconciliation
from billing.queries.periods import period_checks
from fleet.models import GpuInterval, GpuUnit
from tenants.base.scope import fleet_scope
from tests.billing.factories import SYSTEM

PREFIX = "/api/v1/"
ROUTES = {PREFIX + re.sub(r"<\w+:(\w+)>", r"{\1}", str(p.pattern)) for p in urls.urlpatterns}
SCHEMA = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
OPERATIONS: dict[str, Any] = {
    f"{found.ok().method.upper()} {found.ok().path.removeprefix(PREFIX)}": found.ok()
    for found in SCHEMA.get_all_operations()
    if found.ok().path in ROUTES
}
WHY = {"why": "Agreed"}
SPOT = {"product": "h200-sxm", "kind": "spot", "terms": {"hourly": "1.10"}, "capacity": "spot"}
PRICES = [
    {"model": "chat-small", "meter": meter, "price": "0.55"}
    for meter in ("prompt", "cached", "completion")
]
# What nobody may do on this scene, by its rows or by who asks; with the refusal.
REFUSED = {
    "POST billing-periods/{period_id}/start-closing": 409,  # it is not over
    "POST billing-periods/{period_id}/close": 409,  # its checks are not green
    "POST billing-periods/{period_id}/invoices": 409,
    "POST usage/events": 403,  # people are no source of usage
    "POST usage/quarantine/{row_id}/correct": 422,  # the correction is no event either
    "POST usage/quarantine/{row_id}/take": 409,  # its request has no name
}
# Read by everybody who sees money: what they pay by, and which run made their charges.
OF_EVERYBODY = ("GET price-books/{slug}", "GET rating-runs/{run_id}")


def furnish(scene: SimpleNamespace) -> None:
    """What pages do not show: a GPU's interval, an export that failed."""
    unit = GpuUnit.objects.create(cluster=scene.cluster, node="h200-sxm-00", slot=0)
    GpuInterval.objects.create(
        unit=unit, product="h200-sxm", state="serving", service=scene.services[0],
        starts_at=scene.request.event_time - timedelta(hours=2),
    )  # fmt: skip
    scene.checked = Reconciliation.objects.create(
        requested_by="tests", requested_at=scene.request.event_time,
        since=scene.request.event_time, look_again=scene.request.event_time,
    )  # fmt: skip
    scene.failed = ExportJob.objects.create(
        format="csv", starts_at=scene.closed.starts_at, ends_at=scene.closed.ends_at,
        state="failed", requested_by="tests", why="The disk was full",
        requested_at=scene.request.event_time,
    )  # fmt: skip


def parts(scene: SimpleNamespace, name: str) -> dict[str, Any]:
    """Path parameters of an operation that lead to rows of `scene`."""
    known = values(scene, name)
    with fleet_scope():
        return {part: known[part]() if part in known else 1 for part in names_in(name)}


def names_in(name: str) -> list[str]:
    found: list[str] = re.findall(r"{(\w+)}", name)
    return found


def unknown(scene: SimpleNamespace) -> list[str]:
    """Operations of which this file does not say how to call them well."""
    sent = bodies(scene)
    return [
        name
        for name, operation in OPERATIONS.items()
        if set(names_in(name)) - set(values(scene, name))
        or (any(body.is_required for body in operation.body) and name not in sent)
    ]


def values(scene: SimpleNamespace, name: str) -> dict[str, Any]:
    """Functions that find a value of each path parameter."""
    path = name.partition(" ")[2]
    is_write = not name.startswith("GET")
    numbers = {
        "invoices": lambda: scene.invoice.number,
        "credit-notes": lambda: scene.note.number,
        "costs": lambda: scene.sheet.number if is_write else 1,
        "price-books": lambda: scene.draft.number,
    }
    return {
        "slug": lambda: "list" if path.startswith("price-books") else "acme",
        "number": lambda: numbers[path.split("/")[0]](),
        "other": lambda: 1,
        "position": lambda: scene.line,
        "request_id": lambda: str(scene.request.request_id),
        "row_id": lambda: scene.quarantined.pk,
        "decision_id": lambda: scene.decision.pk,
        "txn_id": lambda: scene.txn,
        "run_id": lambda: scene.run,
        "reconciliation_id": lambda: scene.checked.pk,
        "reservation_id": lambda: scene.reservation.pk,
        "webhook_id": lambda: scene.webhook.pk,
        "delivery_id": lambda: EventDelivery.objects.filter(webhook=None).earliest("id").pk,
        "credit_id": lambda: scene.credit.pk,
        "period_id": lambda: period(scene, path.rpartition("/")[2]).pk,
        "export_id": lambda: (scene.failed if path.endswith("retry") else scene.export).pk,
        "account": lambda: "bank",
        "destination_id": lambda: scene.receiver.pk,
        "schedule_id": lambda: scene.schedule.pk,
    }


def period(scene: SimpleNamespace, verb: str) -> BillingPeriod:
    if verb == "start-closing":
        return BillingPeriod.objects.filter(state="open").earliest("id")
    found: BillingPeriod = scene.closed if verb == "reopen" else scene.closing
    return found


def signable(scene: SimpleNamespace) -> str:
    with fleet_scope():
        checks = period_checks(SYSTEM, scene.closing, now=timezone.now(), grace=timedelta(0))
    return next(check.key.value for check in checks if check.may_sign)


def queries(scene: SimpleNamespace) -> dict[str, str]:
    """Good values of query parameters, by name."""
    now = scene.request.event_time + timedelta(days=1)
    return {
        "tenant": "acme",
        "application": "assistant",
        "model": "chat-small",
        "since": (now - timedelta(days=40)).isoformat(),
        "until": now.isoformat(),
        "limit": "3",
        "first": f"{now - timedelta(days=9):%Y-%m-%d}",
        "last": f"{now:%Y-%m-%d}",
        "with_first": f"{now - timedelta(days=20):%Y-%m-%d}",
        "with_last": f"{now - timedelta(days=10):%Y-%m-%d}",
    }


def bodies(scene: SimpleNamespace) -> dict[str, Any]:
    """A body of each operation that writes, which it takes."""
    now: datetime = scene.request.event_time
    hour = (now + timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    ahead, span = hour.isoformat(), {"starts_at": (hour - timedelta(days=9)).isoformat()}
    account = {
        "name": "Acme SA", "currency": "USD", "time_zone": "Europe/Paris", "terms_days": 14,
        "rounding": "HALF_EVEN", "tax_per": "invoice", "taxes": [{"name": "TVA", "rate": "0.2"}],
    }  # fmt: skip
    credit = {"name": "Balance", "amount": "5", "currency": "USD", "paid": False, "why": "A gift"}
    hook = {"url": "https://erp.example.org/in", "kinds": ["period.closed"]}
    receiver = {"name": "SAP", "url": "https://sap.example.com/in"}
    rate = {"base": "USD", "quote": "EUR", "date": "2026-10-01", "source": "ECB", "rate": "0.9"}
    reservation = {"tenant": "acme", "product": "l40s", "gpus": 1, "starts_at": ahead} | WHY
    nightly = {"name": "n", "format": "csv", "local_time": "02:00", "time_zone": "Europe/Paris"}
    return {
        "PUT billing-accounts/{slug}": account,
        "POST billing-accounts/{slug}/payments": {
            "amount": "5", "currency": "USD", "reference": "SEPA-99",
        },
        "POST billing-accounts/{slug}/credits": credit,
        "PUT tenants/{slug}/budget-alerts": {"thresholds": [90], "mails": []},
        "POST webhooks": hook,
        "PUT webhooks/{webhook_id}": hook,
        "POST billing-periods/{period_id}/sign-off": {"check": signable(scene)} | WHY,
        "POST billing-periods/{period_id}/reopen": WHY,
        "POST billing-periods/{period_id}/stop-closing": WHY,
        "POST invoices/{number}/credit-notes": {
            "lines": [{"line": scene.line, "amount": "0.01"}],
        } | WHY,
        "POST exports": {"format": "csv", "ends_at": ahead} | span,
        "POST export-destinations": receiver,
        "PUT export-destinations/{destination_id}": receiver,
        "POST exports/{export_id}/deliveries": {"destination_id": scene.bucket.pk},
        "POST export-schedules": nightly,
        "PATCH export-schedules/{schedule_id}": {"enabled": False},
        "PUT ledger-accounts/{account}": {"number": "1200"},
        "POST exchange-rates": rate,
        "POST exchange-rates/import": {
            "csv": "base,quote,date,source,rate\nUSD,EUR,2026-10-02,ECB,0.91",
        },
        "POST price-books": {"slug": "eu", "name": "Europe", "currency": "EUR"},
        "POST contracts": {"tenant": "initech"},
        "POST price-books/{slug}/versions": {"prices": PRICES},
        "PUT price-books/{slug}/versions/{number}": {"prices": PRICES},
        "POST price-books/{slug}/versions/{number}/propose": {"starts_at": ahead} | WHY,
        "POST costs/gpu-prices": {
            "currency": "USD", "hourly": {"l40s": "1.20"}, "starts_at": ahead,
        },
        "POST costs/gpu-prices/drafts": {"currency": "USD", "lines": [SPOT]},
        "PUT costs/gpu-prices/{number}": {"currency": "USD", "lines": [SPOT]},
        "POST costs/gpu-prices/{number}/propose": {"starts_at": ahead} | WHY,
        "POST costs/reservations": reservation,
        "POST costs/reservations/{reservation_id}/end": {"ends_at": ahead} | WHY,
        "POST costs/methods": {"method": "engine-time-1", "starts_at": ahead} | WHY,
        "POST costs/other/import": {
            "csv": "starts_at,ends_at,kind,name,model,currency,amount\n"
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,platform,Rent,,USD,9",
        },
        "POST usage/events": [],
        "POST usage/quarantine/{row_id}/take": WHY,
        "POST usage/quarantine/{row_id}/drop": WHY,
        "POST usage/quarantine/{row_id}/correct": {"event": "{}"} | WHY,
        "POST usage/quarantine/decisions": {
            "ids": [scene.quarantined.pk], "decision": "drop",
        } | WHY,
    }  # fmt: skip
