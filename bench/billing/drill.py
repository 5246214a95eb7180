"""Pages over what was just billed: dashboards, and the way from an invoice to a request."""

import statistics
from collections.abc import Iterator
from datetime import datetime, timedelta

from bench.pages.cpu import Cpu

DASHBOARD_MS, STEP_MS = 150, 100  # p95
RUNS = 20


def measure_pages(now: datetime, cpu: Cpu) -> None:
    """Ask as an operator, in process, and print each page's time."""
    from django.test import Client

    import console.asgi  # noqa: F401  # what the web process does at its start
    from bench.pages.__main__ import timed

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(operator())
    for limit, address in [*dashboards(), *steps(now)]:
        status = client.get(address).status_code
        if status != 200:
            raise SystemExit(f"{address} answered {status}")
        runs = [timed(client, address, cpu) for _ in range(RUNS)]
        times, python, postgres = zip(*runs, strict=True)
        p95 = statistics.quantiles(times, n=20)[18]
        print(
            f"{address.partition('?')[0]:<42} p50 {statistics.median(times):6.1f}  p95 {p95:6.1f} "
            f"ms of {limit}   CPU {min(python):.0f} + {min(postgres):.0f} ms",
            flush=True,
        )


def operator():
    from tenants.base.scope import fleet_scope
    from tenants.models import RoleBinding, User

    with fleet_scope():
        user = User.objects.create(email="bench@example.test", name="Bench", password="!")
        RoleBinding.objects.create(user=user, role="operator", tenant=None)
        return user


def dashboards() -> Iterator[tuple[int, str]]:
    for address in ("/billing/", "/billing/tenant-7/", "/economics/", "/invoices/", "/periods/"):
        yield DASHBOARD_MS, address


def steps(now: datetime) -> Iterator[tuple[int, str]]:
    """Invoice, line, charges, hour, requests of the hour, request."""
    from billing.models import InvoiceLine, UsageEvent
    from tenants.base.scope import fleet_scope

    with fleet_scope():
        line = InvoiceLine.objects.filter(kind="usage").select_related("invoice").latest("id")
        events = UsageEvent.objects.filter(tenant_id=line.tenant_id, event_time__lt=now)
        event = events.latest("event_time")
        slug = tenant_of(line.tenant_id)
    hour = event.event_time.replace(minute=0, second=0, microsecond=0)
    span = f"from={stamp(hour)}&to={stamp(hour + timedelta(hours=1))}"
    number = line.invoice.number
    for address in (
        f"/invoices/{number}/",
        f"/invoices/{number}/lines/{line.position}/",
        f"/billing/{slug}/charges/?{span}&meter={line.meter}",
        f"/billing/{slug}/hours/?{span}",
        f"/requests/?tenant={slug}&{span}",
        f"/requests/{event.request_id}/",
    ):
        yield STEP_MS, address


def tenant_of(tenant_id: int) -> str:
    from tenants.models import Tenant

    return Tenant.objects.get(pk=tenant_id).slug


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
