"""People and programs that do the same at the same moment: it is done once, and all hear of it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from billing.actions.accounts import record_payment
from billing.actions.calendars import keep_periods
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.drive.exports import run_due
from billing.models import ExportArtifact, Invoice, JournalTxn
from billing.queries.accounts import balances
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import AuditEvent
from tests.billing.books import GRACE, NOVEMBER, close_month, engines_agree, find_period, spend
from tests.billing.factories import SYSTEM
from tests.billing.granted import all_checks_hold
from tests.billing.test_given_back_beside import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("priced")]
PAYMENT = {"amount": "5.00", "currency": "USD", "reference": "SEPA-1"}


def in_scope(act, *given, **more):
    return lambda: act(*given, **more)


def test_two_people_close_a_month_once(acme, gateway):
    spend(gateway, acme)
    keep_periods(NOVEMBER)
    engines_agree()
    with fleet_scope():
        pk = find_period(acme).pk
        start_closing(SYSTEM, pk, now=NOVEMBER)
    act = in_scope(close, SYSTEM, pk, now=NOVEMBER, grace=GRACE)
    ends = at_once(act, act, act)
    assert sum(end is None for end in ends) == 1
    assert all(end is None or isinstance(end, Conflict) for end in ends), ends
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="billing_period.close").count() == 1


def test_a_payment_is_booked_once_whoever_books_it(acme, gateway):
    given = {"amount": Decimal(5), "currency": "USD", "reference": "SEPA-1", "now": NOVEMBER}
    act = in_scope(record_payment, SYSTEM, "acme", **given)
    ends = at_once(act, act, act)
    assert sum(end is None for end in ends) == 1
    assert all(end is None or isinstance(end, Conflict) for end in ends), ends
    with fleet_scope():
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(-5)}


def test_a_call_that_is_sent_twice_at_once_gets_the_same_answer(acme, finance):
    gate = threading.Barrier(3)

    def call(_):
        gate.wait()
        try:
            path = "billing-accounts/acme/payments"
            return finance("post", path, PAYMENT, **{"Idempotency-Key": "sepa-1"})
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(call, range(3)))
    assert [a.status_code for a in answers] == [201] * 3, [a.content for a in answers]
    assert len({a.content for a in answers}) == 1
    assert sorted(a.headers.get("Idempotent-Replayed", "") for a in answers) == ["", "true", "true"]
    with fleet_scope():
        assert JournalTxn.objects.count() == 1


def test_a_month_is_billed_while_its_files_are_made(acme, gateway, finance, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path
    spend(gateway, acme, prompt_tokens=10, cached_tokens=0)
    period = close_month(acme)
    with fleet_scope():
        keep = period.pk
    given = {"starts_at": "2026-10-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}
    for format in ("focus-1.4", "focus-1.4-invoice-detail", "chargeback", "focus-1.2"):
        answer = finance("post", "exports", {"format": format, **given})
        assert answer.status_code == 202, answer.content
    ends = at_once(
        in_scope(issue_invoices, SYSTEM, keep, now=NOVEMBER),
        *[in_scope(run_due, NOVEMBER.replace(year=2027))] * 2,
    )
    assert ends == [None] * 3
    run_due(NOVEMBER.replace(year=2027))
    with fleet_scope():
        total = Invoice.objects.get().total
        artifacts = list(ExportArtifact.objects.select_related("job"))
        assert len(artifacts) == 4
        for made in artifacts:
            sums = made.sums.get("USD", "0")
            billed = made.manifest["checks"]["documents"]
            assert billed in (0, 1)
            if made.job.format == "focus-1.4-invoice-detail":
                assert Decimal(sums) == total * billed
    all_checks_hold()
