"""Books with something of everything in them, and a way to damage them and to mend them again."""

from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from io import StringIO

from django.core.management import call_command
from psycopg import sql

from billing.actions.allocation import allocate_due
from billing.actions.credits import Given, issue_credit_note
from billing.actions.exchange import record_rate
from billing.actions.exports import request_export
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.drive.exports import run_due
from billing.models import EngineHour, GatewayHour, OtherCost
from billing.rules.exchange import Recorded
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope
from tests.billing.books import NOVEMBER, OCTOBER, ODD_PRICES, bill_month, set_account, spend, tax
from tests.billing.factories import HOUR, SYSTEM, batch, make_prices, usage
from tests.billing.granted import granted
from tests.plugins.database import superuser

LATER = HOUR + timedelta(hours=1, minutes=5)
DAYS = "400"  # back to the months of these books, whenever the tests run
ROW = (
    "starts_at,ends_at,kind,name,model,currency,amount\n2026-11-01,2026-12-01,platform,Nets,,USD,72"
)


def make_books(acme, globex, gateway, fin, vic):
    """October of two tenants is billed, one in francs; November runs; GPUs cost something."""
    service = fleet()
    make_prices(ODD_PRICES)
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    set_account(globex, currency="CHF", rate_source="ECB")
    for paid in False, True:
        granted(
            fin, vic, acme, now=OCTOBER, name=f"Credit {paid}", amount=Decimal("0.02"), paid=paid,
            reference="bank-7" if paid else "", priority=1 + paid,
        )  # fmt: skip
    for tenant in acme, globex:
        for hours in 0, 1, 30:
            spend(gateway, tenant, at=OCTOBER + timedelta(hours=hours), gpu_ms=900)
        for hours in 0, 1:
            spend(gateway, tenant, at=HOUR + timedelta(minutes=20 + hours), service_id=service.pk,
                  gpu_ms=400_000, prompt_tokens=2_000, worker="w1")  # fmt: skip
    with fleet_scope():
        found = Recorded("USD", "CHF", NOVEMBER.date(), "ECB", Decimal("0.81"))
        record_rate(SYSTEM, found, now=NOVEMBER)
        import_other_costs(SYSTEM, ROW, now=NOVEMBER)
        assert OtherCost.objects.count() == 1
        EngineHour.objects.create(
            hour=HOUR, service_id=service.pk, prompt_tokens=8_000, completion_tokens=120, engines=1
        )
    assert allocate_due(LATER) == 1
    invoice = bill_month(acme)
    bill_month(globex)
    reported_by_gateways(gateway, acme)
    with fleet_scope():
        given = [Given(2, Decimal("0.05"))]
        issue_credit_note(SYSTEM, invoice.number, lines=given, why="outage", now=NOVEMBER)
        request_export(
            SYSTEM,
            format="csv",
            now=NOVEMBER,
            starts_at=OCTOBER,
            ends_at=OCTOBER + timedelta(days=9),
        )
    assert run_due(NOVEMBER + timedelta(minutes=1)) >= 1


def reported_by_gateways(gateway, tenant):
    """Of November: four requests that are stored, and one that waits in quarantine."""
    bad = usage(tenant, at=HOUR, worker="w1", application_id=999_999)
    assert len(ingest(gateway, batch(bad), now=LATER).quarantined) == 1
    for hours, events in (0, 5), (9, 0):  # later ones were reported, so this one is over
        GatewayHour.objects.create(
            hour=HOUR + timedelta(hours=hours), worker="w1", started=1.0, events=events,
            spool_events=0, spool_oldest_seconds=0.0,
        )  # fmt: skip


def fleet():
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal("2.60")},
            starts_at=HOUR - timedelta(days=30), now=NOVEMBER, why="tests",
        )  # fmt: skip
        for state in "serving", "free":
            GpuTime.objects.create(
                hour=HOUR, cluster=cluster, gpu_product="H100", state=state,
                service=service if state == "serving" else None, gpu_ms=3_600_000,
            )  # fmt: skip
    return service


def check():
    """What the command prints, and its status."""
    out = StringIO()
    try:
        call_command("billing", "check", "--days", DAYS, stdout=out)
    except SystemExit as ended:
        return out.getvalue().splitlines(), ended.code
    return out.getvalue().splitlines(), 0


@contextmanager
def damaged(statements, tables):
    """What triggers refuse to everybody: past them, as only the server's own role can."""
    names = [sql.Identifier(table) for table in tables]
    with superuser() as server:
        kept = [_read(server, name) for name in names]
        _without_triggers(server, lambda: [server.execute(s) for s in statements])
        try:
            yield
        finally:
            _without_triggers(server, lambda: _restore(server, names, kept))


def _without_triggers(server, act):
    with server.transaction():
        server.execute("SET LOCAL session_replication_role = replica")
        act()


def _restore(server, names, kept):
    for name, rows in zip(names, kept, strict=True):
        server.execute(sql.SQL("DELETE FROM {}").format(name))
        with server.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as into:
            into.write(rows)


def _read(server, name):
    query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(name)
    with server.cursor().copy(query) as copy:
        return b"".join(bytes(part) for part in copy)
