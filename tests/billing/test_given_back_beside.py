"""Giving back by credit notes: killed at every statement, beside another, in every file."""

import threading
from decimal import Decimal

import pytest
from django.db import connection

from billing.actions.credits import Given, issue_credit_note
from billing.actions.invoices import issue_invoices
from billing.drive.checks import check_all
from billing.models import CreditNote, Invoice
from billing.queries.invoices import get_invoice
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tests.billing.books import NOVEMBER, OCTOBER, close_month
from tests.billing.factories import SYSTEM
from tests.billing.granted import all_checks_hold
from tests.billing.official import validated
from tests.billing.test_exports import export
from tests.billing.test_giving_back import SPAN, halved, people  # noqa: F401  # fixtures
from tests.billing.test_killed import die_everywhere, in_fleet

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


def test_whoever_dies_over_it_leaves_nothing(halved, acme):  # noqa: F811
    period = close_month(acme)
    kills = die_everywhere(in_fleet(issue_invoices, SYSTEM, period.pk, now=NOVEMBER))
    assert kills > 40
    with fleet_scope():
        assert (Invoice.objects.count(), CreditNote.objects.count()) == (2, 1)
    assert [c for c in check_all(SPAN.start, SPAN.end) if not c.holds] == []


def at_once(*acts):
    """Each in a thread; what they raised, None where they raised nothing."""
    gate = threading.Barrier(len(acts))
    ends = [None] * len(acts)

    def work(place, act):
        gate.wait()
        try:
            with fleet_scope():
                act()
        except Exception as error:  # noqa: BLE001  # told by the main thread
            ends[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return ends


@pytest.mark.django_db(transaction=True)
def test_two_people_who_bill_it_at_once_give_back_once(halved, acme):  # noqa: F811
    period = close_month(acme)

    def bill():
        issue_invoices(SYSTEM, period.pk, now=NOVEMBER)

    ends = at_once(bill, bill, bill)
    assert sum(end is None for end in ends) == 1
    assert all(end is None or isinstance(end, Conflict) for end in ends)
    with fleet_scope():
        assert (Invoice.objects.count(), CreditNote.objects.count()) == (2, 1)
    all_checks_hold()


@pytest.mark.django_db(transaction=True)
def test_a_credit_note_beside_it_takes_no_more_than_is_left(halved, acme):  # noqa: F811
    period = close_month(acme)
    with fleet_scope():
        found = get_invoice(SYSTEM, halved.number)
        everything = [Given(x.row.position, x.remains) for x in found.lines if x.may_credit]

    def give():
        issue_credit_note(SYSTEM, halved.number, lines=everything, why="gift", now=NOVEMBER)

    ends = at_once(give, lambda: issue_invoices(SYSTEM, period.pk, now=NOVEMBER), give)
    assert ends[1] is None, ends
    assert all(end is None or isinstance(end, Invalid) for end in ends), ends
    with fleet_scope():
        after = get_invoice(SYSTEM, halved.number)
        assert all(line.remains >= 0 for line in after.lines)
        assert after.remains >= Decimal(0)
        assert [n.sequence for n in CreditNote.objects.order_by("id")] == list(
            range(1, CreditNote.objects.count() + 1)
        )
    all_checks_hold()


def test_the_official_validator_passes_a_month_that_gives_back(
    halved,  # noqa: F811
    acme,
    fiona,
    tmp_path,
    monkeypatch,
):
    """October with its first invoice, the one below zero, and the credit note of November."""
    period = close_month(acme)
    with fleet_scope():
        issue_invoices(SYSTEM, period.pk, now=NOVEMBER)
    monkeypatch.setattr(
        "tests.billing.test_exports.START", OCTOBER.replace(day=1, hour=0, minute=0)
    )
    artifact, data = export(fiona, "focus-1.2")
    assert b"Given back by CN-000001" in data
    verdict = validated(tmp_path, artifact, data)
    assert verdict.failed == ()
    assert verdict.passed > 250
