"""Money on a scene: five weeks of usage, priced and charged, costs, an export, a bad event."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from billing.actions.allocation import allocate_due
from billing.actions.deliveries import create_destination, deliver_export
from billing.actions.exports import request_export
from billing.actions.ingest import ingest
from billing.actions.node_prices import draft_sheet, set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.actions.previews import request_preview
from billing.actions.prices import draft_version
from billing.actions.reservations import reserve_gpus
from billing.actions.schedules import create_schedule
from billing.drive.exports import run_due
from billing.drive.previews import work_due
from billing.models import ExportAttempt, PriceBook, RatingRun, UsageEvent, UsageQuarantine
from billing.rules.destinations import Target
from billing.rules.node_lines import read_lines
from billing.rules.other_costs import COLUMNS
from billing.rules.prices import PriceLine
from fleet.models import GpuTime
from tenants.base.scope import fleet_scope
from tenants.models import Application, RoleBinding, User
from tests.billing import factories
from tests.billing.factories import SYSTEM, make_prices, make_source
from tests.console.book_scene import furnish_books

WEEKS = 5
NODE_LINES = """h200-sxm, owned, purchase=32000, residual=2000, months=48, watts=700, kwh=0.2
h200-sxm, spot, hourly=1.10, capacity=spot
h200-sxm, reserved, upfront=14600, months=36, hourly=0.5, gpus=8, capacity=reserved"""
MODELS = ("chat-small", "chat-large")
PRICES = {
    model: {"prompt": Decimal("0.5"), "cached": Decimal("0.05"), "completion": Decimal("1.5")}
    for model in MODELS
}


def furnish_money(scene: SimpleNamespace, now: datetime) -> SimpleNamespace:
    """Add money to `scene`, for the tenants that it has. `scene.request` is one billed request."""
    starts_at = (now - timedelta(days=70)).replace(minute=0, second=0, microsecond=0)
    make_prices(PRICES, starts_at=starts_at, now=now)
    source = make_source("gateway-money")
    events = list(usage(scene, now))
    receipt = ingest(source, factories.batch(*events), now=now)
    assert receipt.accepted == len(events), receipt
    bad = events[0] | {"request_id": "not-a-uuid"}
    ingest(source, json.dumps([factories.cloud(bad)]).encode(), now=now)
    ingest(source, factories.batch(events[1] | {"completion_tokens": 1}), now=now)
    factories.settle(now)
    with fleet_scope():
        scene.quarantined = UsageQuarantine.objects.get(reason="bad_schema")
        costs(scene, now)
        RoleBinding.objects.create(user=scene.olga, role="finance")  # she does the books as well
        scene.watcher = User.objects.create_user(
            "watcher@example.test", "a long password", name="w"
        )
        RoleBinding.objects.create(user=scene.watcher, role="viewer")
        book = PriceBook.objects.get(slug="list")
        dearer = [
            PriceLine(m, meter, p * 2)
            for m, prices in PRICES.items()
            for meter, p in prices.items()
        ]
        scene.draft = draft_version(
            SYSTEM, "list", prices=dearer, why="GPU rent went up", expected=book.version
        )
        request_preview(SYSTEM, "list", scene.draft.number, now=now)
        first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        scene.export = request_export(
            SYSTEM, format="focus-1.4", starts_at=first - timedelta(days=30),
            ends_at=first + timedelta(days=1), now=now - timedelta(minutes=1),
        )  # fmt: skip
        scene.schedule = create_schedule(
            SYSTEM, name="finance, daily", format="csv", now=now, time_zone="Europe/Amsterdam",
            local_time=datetime(2026, 1, 1, 2).time(),
        )  # fmt: skip
    run_due(now)
    work_due(now)
    with fleet_scope():
        scene.receiver, _ = create_destination(
            SYSTEM, Target("the ledger", "https://ledger.example.com/in")
        )
        scene.bucket, _ = create_destination(
            SYSTEM,
            Target(
                "the archive", "https://s3.example.com/finance/usage", "S3", "eu-central-1",
                "AKIAIOSFODNN7EXAMPLE",
            ),
            secret_key="known to the store alone",
        )  # fmt: skip
        delivery = deliver_export(
            SYSTEM, scene.export.pk, now=now, destination_id=scene.receiver.pk
        )
        ExportAttempt.objects.create(
            delivery=delivery, part="file", at=now, status=503, why="It answered 503"
        )
        furnish_books(scene, now)
        scene.run = RatingRun.objects.latest("id").pk
        scene.request = UsageEvent.objects.filter(outcome="served").order_by("-event_time").first()
    return scene


def usage(scene: SimpleNamespace, now: datetime):
    """Two requests a tenant each half day; each tenth of them was refused.

    Both are in one hour, whatever the time: `costs` knows the GPUs of some hours alone.
    """
    latest = now - timedelta(minutes=2)
    moments = latest, latest.replace(minute=0, second=0, microsecond=0)
    for place, tenant in enumerate(scene.tenants[:2]):
        with fleet_scope():
            tenant.app = Application.objects.filter(tenant=tenant).order_by("id").first()
        for half_day in range(WEEKS * 14):
            for turn, model in enumerate(MODELS):
                number = half_day * 2 + turn
                refused = {"outcome": "rejected", "reason": "tpm", "http_status": 429,
                           "usage_quality": "none", "prompt_tokens": 0, "cached_tokens": 0,
                           "completion_tokens": 0}  # fmt: skip
                yield factories.usage(
                    tenant,
                    at=moments[turn] - timedelta(hours=12 * half_day),
                    model=model,
                    service_id=scene.services[turn].pk,
                    **(
                        refused
                        if number % 10 == 9
                        else {
                            "prompt_tokens": 900_000 + 40_000 * (number % 7),
                            "cached_tokens": 200_000,
                            "completion_tokens": 300_000 + 10_000 * place,
                        }
                    ),
                )


def costs(scene: SimpleNamespace, now: datetime) -> None:
    """Three hours of GPU time in which tenants had work."""
    hour = (now - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)
    for back in (12, 24, 36):
        for state, service, gpu_ms in (
            ("serving", scene.services[0], 7_200_000),
            ("loading", scene.services[0], 600_000),
            ("free", None, 3_600_000),
        ):
            GpuTime.objects.create(
                hour=hour - timedelta(hours=back), cluster=scene.cluster, gpu_product="h200-sxm",
                state=state, service=service, gpu_ms=gpu_ms,
            )  # fmt: skip
    set_gpu_prices(
        SYSTEM, currency="USD", hourly={"h200-sxm": Decimal("3.40")},
        starts_at=hour - timedelta(days=30), now=now, why="rent",
    )  # fmt: skip
    scene.sheet = draft_sheet(SYSTEM, currency="USD", lines=read_lines(NODE_LINES), why="owned")
    scene.reservation = reserve_gpus(
        SYSTEM, tenant_id=scene.tenants[0].pk, product="h200-sxm", gpus=2,
        starts_at=hour - timedelta(hours=26), now=now, why="contract",
    )  # fmt: skip
    while allocate_due(now):
        pass
    first, last = hour - timedelta(days=30), hour + timedelta(days=30)
    spans = f"{first.isoformat()},{last.isoformat()}"
    lines = (
        f"{spans},platform,Gateways and databases,,USD,2160.00",
        f"{spans},hosted,Example AI: Chat,{MODELS[0]},USD,720.50",
    )
    import_other_costs(SYSTEM, "\n".join((",".join(COLUMNS), *lines)), now=now)
