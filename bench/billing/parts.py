"""The steps that the benchmark times."""

import time
import uuid
from datetime import timedelta

from django.utils import timezone

from billing.actions.exports import request_export
from billing.actions.ingest import ingest
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.drive.exports import run_due
from billing.models import ExportArtifact, PriceBook
from billing.rules.prices import PriceLine
from tenants.base.scope import fleet_scope
from tenants.models import Application, Tenant, UsageSource
from tenants.rules.access import Permission, Viewer, system_viewer

SYSTEM = system_viewer("bench")


def make_fleet(count):
    with fleet_scope():
        tenants = [
            Tenant.objects.create(slug=f"tenant-{n}", name=f"Tenant {n}") for n in range(count)
        ]
        apps = [Application.objects.create(tenant=t, slug="app", name="App") for t in tenants]
    source = UsageSource.objects.create(name="bench", public_id="bench", digest=uuid.uuid4().hex)
    viewer = Viewer(
        user_id=None,
        email="source:bench",
        allowed=frozenset({Permission.INGEST_USAGE}),
        via="source",
        source_id=source.pk,
    )
    return [(t.pk, a.pk) for t, a in zip(tenants, apps, strict=True)], viewer


def publish(price, now):
    """Prices that hold since long before the usage, said again each time."""
    with fleet_scope():
        if not PriceBook.objects.exists():
            create_book(SYSTEM, slug="list", name="List", currency="USD")
        lines = [
            PriceLine(f"model-{n}", meter, price * (n + 1))
            for n in range(3)
            for meter in ("prompt", "cached", "completion")
        ]
        draft = draft_version(SYSTEM, "list", prices=lines, why="bench")
        start = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
        publish_version(SYSTEM, "list", draft.number, starts_at=start, now=now, why="bench")


def send(source, bodies):
    """Seconds spent in the action; making the bodies is not counted."""
    spent = 0.0
    for body in bodies:
        began = time.perf_counter()
        ingest(source, body, now=timezone.now())
        spent += time.perf_counter() - began
    return spent


def roll_all():
    began, hours = time.perf_counter(), 0
    while done := roll_up(timezone.now()):
        hours += done
    return hours, time.perf_counter() - began


def rate_all():
    began, charges = time.perf_counter(), 0
    while (passed := rate_due(timezone.now(), early=True)).hours:
        charges += passed.charges
    return charges, time.perf_counter() - began


def export(format):
    now = timezone.now()
    with fleet_scope():
        request_export(
            SYSTEM, format=format, starts_at=now - timedelta(days=60), ends_at=now, now=now
        )
    began = time.perf_counter()
    run_due(now)
    with fleet_scope():
        rows = ExportArtifact.objects.latest("id").rows
    return rows, time.perf_counter() - began
