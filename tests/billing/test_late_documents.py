"""What is issued or posted within a range is in the range's file, though it is committed later."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing.actions.accounts import record_payment
from billing.actions.exports import request_export
from billing.actions.invoices import issue_invoices
from billing.actions.ledger import number_account
from billing.drive.exports import run_due
from billing.models import ExportArtifact
from billing.rules.journal import ACCOUNTS
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.books import NOVEMBER, close_month, spend
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import PRICES

MIDNIGHT = NOVEMBER.replace(hour=0, minute=0) + timedelta(days=1)
JUST_BEFORE, JUST_AFTER = MIDNIGHT - timedelta(seconds=1), MIDNIGHT + timedelta(seconds=10)


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


def invoices(period):
    return lambda: issue_invoices(SYSTEM, period.pk, now=JUST_BEFORE)


def payment(period):
    return lambda: record_payment(
        SYSTEM, "acme", amount=Decimal(1), currency="USD", reference="SEPA-1", now=JUST_BEFORE
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("format", "act"),
    [("focus-1.4-invoice-detail", invoices), ("ledger", payment), ("ledger", invoices)],
)
def test_a_file_waits_for_what_is_being_written(acme, gateway, fiona, format, act):
    make_prices(PRICES)
    spend(gateway, acme)
    period = close_month(acme)
    with fleet_scope():
        for n, account in enumerate(ACCOUNTS):
            number_account(SYSTEM, account, number=str(n), name="", expected=0)
    with scope_of(fiona):
        given = {"starts_at": MIDNIGHT - timedelta(days=1), "ends_at": MIDNIGHT, "now": JUST_AFTER}
        request_export(fiona, format=format, **given)
    written, may_end = threading.Event(), threading.Event()

    def write():
        try:
            with fleet_scope():
                act(period)()
                written.set()
                may_end.wait(20)
        finally:
            connection.close()

    def make():
        try:
            run_due(JUST_AFTER)
        finally:
            connection.close()

    writer, maker = threading.Thread(target=write), threading.Thread(target=make)
    writer.start()
    assert written.wait(20)
    maker.start()
    maker.join(1.5)  # it would have been made by now
    may_end.set()
    for thread in (writer, maker):
        thread.join(30)
        assert not thread.is_alive()
    run_due(JUST_AFTER + timedelta(minutes=2))
    with fleet_scope():
        assert ExportArtifact.objects.get().rows > 0
