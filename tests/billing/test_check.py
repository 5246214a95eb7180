"""manage.py billing_check: silent when sums agree, loud when something was lost."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing.actions.exports import request_export
from billing.drive.exports import run_due
from billing.models import ChargeDay, UsageHour
from tenants.base.scope import fleet_scope
from tests.billing.books import OCTOBER, bill_month, spend
from tests.billing.factories import SYSTEM, batch, ingest, load, make_prices, usage
from tests.plugins.database import superuser


def check():
    out = StringIO()
    call_command("billing_check", stdout=out)
    return out.getvalue()


@pytest.fixture
def books(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(
        gateway,
        usage(acme, at=now),
        usage(acme, at=now, outcome="failed"),
        usage(acme, at=now, model="unheard-of"),
        now=now,
    )
    ingest(gateway, batch(usage(acme, at=now)), now=now)  # not rolled up yet: no difference


@pytest.mark.django_db(transaction=True)
def test_it_finds_all_sums_equal(books):
    text = check()
    assert "All sums agree" in text
    assert "money: charges = hours as rated: 0.000077000000" in text


@pytest.mark.django_db(transaction=True)
def test_it_finds_an_hour_that_lost_a_request(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(gateway, usage(acme, at=now), usage(acme, at=now, outcome="shed"), now=now)
    with fleet_scope():
        UsageHour.objects.filter(outcome="shed").delete()
    with pytest.raises(SystemExit):
        check()


@pytest.mark.django_db(transaction=True)
def test_it_finds_money_that_a_day_lost(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(gateway, usage(acme, at=now), now=now)
    with fleet_scope():
        ChargeDay.objects.filter(meter="cached").delete()
    with pytest.raises(SystemExit):
        check()


@pytest.fixture
def billed(acme, gateway):
    make_prices()
    spend(gateway, acme)
    return bill_month(acme)


def damage(statement):
    """What triggers refuse to everybody: past them, as only the server's own role can."""
    with superuser() as server, server.transaction():
        server.execute("SET LOCAL session_replication_role = replica")
        server.execute(statement)


@pytest.mark.django_db(transaction=True)
def test_it_finds_the_books_in_order(billed):
    text = check()
    assert "All sums agree" in text
    assert "money: charges of invoices = their lines before rounding: 0.000077000000" in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE invoice SET total = total + 1", "money: lines = invoices"),
        ("UPDATE invoice SET snapshot = snapshot || ' '", "records and PDFs"),
        (
            "UPDATE invoice_line SET exact = exact + 1 WHERE kind = 'usage'",
            "exact lines with rounding",
        ),
        ("UPDATE charge SET model = 'chat2' WHERE meter = 'prompt'", "another digest"),
        ("DELETE FROM charge WHERE meter = 'prompt'", "charges of invoices"),
        ("UPDATE journal_leg SET amount = amount + 1", "journal: all legs"),
        ("UPDATE document_series SET last_number = 7", "numbers given"),
    ],
)
def test_it_finds_and_names_damage_to_the_books(billed, sql, said):
    damage(sql)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("billing_check", stdout=out)
    assert any(said in line and "DIFFERS" in line for line in out.getvalue().splitlines())


@pytest.mark.django_db(transaction=True)
def test_it_finds_an_exported_file_that_somebody_edited(acme, gateway, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path
    make_prices()
    spend(gateway, acme)
    with fleet_scope():
        request_export(
            SYSTEM, format="csv", now=OCTOBER, starts_at=OCTOBER - timedelta(days=1),
            ends_at=OCTOBER + timedelta(days=1),
        )  # fmt: skip
    assert run_due(OCTOBER + timedelta(minutes=1)) == 1
    assert "All sums agree" in check()
    (file,) = tmp_path.rglob("*.csv")
    file.write_text(file.read_text() + "\n")
    with pytest.raises(SystemExit):
        check()
