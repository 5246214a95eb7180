"""The steps that the benchmark times."""

import resource
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from billing.actions.calendars import keep_periods
from billing.actions.exports import request_export
from billing.actions.ingest import ingest
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.actions.rating import open_due, rate_due
from billing.actions.rollup import roll_up
from billing.drive.exports import run_due
from billing.models import BillingPeriod, ExportArtifact, PriceBook, PriceBookVersion, RatingRun
from billing.queries.billed import billed_currencies, newest_charge
from billing.rules.lanes import LANES
from billing.rules.prices import PriceLine
from tenants.actions.tokens import create_source
from tenants.base.scope import fleet_scope
from tenants.models import Application, Tenant
from tenants.rules.access import Permission, Viewer, system_viewer

WORKERS = 2
SYSTEM = system_viewer("bench")
ENGINES = """
INSERT INTO engine_hour (hour, service_id, prompt_tokens, completion_tokens, engines)
SELECT hour, service_id, prompt_tokens, completion_tokens, 1 FROM usage_service_hour
ON CONFLICT DO NOTHING
"""


def make_fleet(count):
    with fleet_scope():
        tenants = [
            Tenant.objects.create(slug=f"tenant-{n}", name=f"Tenant {n}") for n in range(count)
        ]
        apps = [Application.objects.create(tenant=t, slug="app", name="App") for t in tenants]
        source, secret = create_source(SYSTEM, name="bench")
    viewer = Viewer(
        user_id=None,
        email="source:bench",
        allowed=frozenset({Permission.INGEST_USAGE}),
        via="source",
        source_id=source.pk,
    )
    return [(t.pk, a.pk) for t, a in zip(tenants, apps, strict=True)], viewer, secret


def publish(price, now, models=3):
    """Prices that hold since long before the usage, said again each time."""
    with fleet_scope():
        if not PriceBook.objects.exists():
            create_book(SYSTEM, slug="list", name="List", currency="USD")
        lines = [
            PriceLine(f"model-{n}", meter, price * (n + 1))
            for n in range(models)
            for meter in ("prompt", "cached", "completion")
        ]
        draft = draft_version(SYSTEM, "list", prices=lines, why="bench")
        start = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
        publish_version(SYSTEM, "list", draft.number, starts_at=start, now=now, why="bench")


def send(source, bodies, watch):
    """Making the bodies is not counted."""
    for body in bodies:
        with watch:
            ingest(source, body, now=timezone.now())


def roll_all(watch):
    """As two workers, each in a connection of its own: the work is PostgreSQL's."""

    def work(_):
        while roll_up(timezone.now()):
            pass
        connection.close()

    with ThreadPoolExecutor(WORKERS) as workers, watch:
        list(workers.map(work, range(WORKERS)))


def rate_all(watch):
    """How many charges were written, by a worker in each lane."""
    open_due(timezone.now())
    with watch, ThreadPoolExecutor(len(LANES)) as workers:
        return sum(workers.map(rate_lane, LANES))


def rate_lane(lane):
    charges = 0
    while (passed := rate_due(timezone.now(), early=True, lane=lane)).hours:
        charges += passed.charges
    connection.close()
    return charges


# Of each tenant three models of three meters in every hour, as in a month of 10 million requests.
CHARGES = """
INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class, meter, quantity,
    unit_price, amount, currency, book_version_id)
SELECT %(run)s, %(first)s + h * interval '1 hour', a.tenant_id, a.id, 'model-' || m, 'interactive',
    kind, q, price, q * price, 'USD', %(version)s
FROM generate_series(0, %(hours)s - 1) h, application a, generate_series(0, 2) m,
    (VALUES ('prompt', 0.0000005), ('cached', 0.00000005), ('completion', 0.0000015))
        AS prices (kind, price),
    LATERAL (SELECT ((h * 7919 + a.id * 104729 + m) %% 99991 + 1)::numeric(38, 6) AS q) AS quantity
"""


def fill_charges(count, tenants, now):
    """So many charges of the hours before `now`, as rating would have left them."""
    hours = count // (tenants * 9)
    with fleet_scope(), connection.cursor() as cursor:
        run = RatingRun.objects.create(
            started_at=now,
            finished_at=now,
            hours=hours,
            charges=count,
            input_sha="",
            rules_version="1",
        )
        version = PriceBookVersion.objects.latest("id")
        first = now - timedelta(hours=hours)
        given = {"run": run.pk, "first": first, "version": version.pk, "hours": hours}
        cursor.execute(CHARGES, given)


def export(format, file_type, watch):
    """Rows, and by how many MB the process grew at most while it wrote."""
    now = timezone.now()
    with fleet_scope():
        request_export(
            SYSTEM, format=format, file_type=file_type, now=now, ends_at=now,
            starts_at=now - timedelta(days=60),
        )  # fmt: skip
    before = peak_mb()
    with watch:
        run_due(now)
    with fleet_scope():
        return ExportArtifact.objects.latest("id").rows, peak_mb() - before


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def close_month(now, watch):
    """Close and bill the month of `now` for every tenant, as of five days after its end."""
    after = (now.replace(day=1) + timedelta(days=32)).replace(day=5)
    keep_periods(after)
    with connection.cursor() as cursor:  # engines counted what gateways metered
        cursor.execute(ENGINES)
    with fleet_scope():
        ended = BillingPeriod.objects.filter(ends_at__lte=after).order_by("starts_at", "tenant_id")
        periods = list(ended.values_list("pk", flat=True))
    with watch:
        return sum(close_and_bill(pk, after) for pk in periods)


def close_and_bill(period_id, now):
    with fleet_scope():
        start_closing(SYSTEM, period_id, now=now)
        period = close(SYSTEM, period_id, now=now, grace=timedelta(hours=24))
        billed = bool(billed_currencies(period, after=0, upto=newest_charge(period, after=0)))
        return len(issue_invoices(SYSTEM, period_id, now=now)) if billed else 0
