"""InvoiceDetail says the same as CostAndUsage of one document, and drafts change nothing of it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.actions.credits import Given, issue_credit_note
from billing.actions.prices import draft_version
from billing.queries.book_lines import read_details
from billing.queries.charged import ChargeFilter
from billing.queries.extras import newest_documents, read_extras
from billing.rules.focus_books import detail_row, grain
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tests.billing.books import NOVEMBER, ODD_PRICES, bill_month, spend
from tests.billing.factories import SYSTEM, make_prices

pytestmark = pytest.mark.django_db
SPAN = ChargeFilter(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@pytest.fixture
def invoice(acme, gateway):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    return bill_month(acme)


def test_the_sku_of_invoice_detail_is_that_of_cost_and_usage(acme, gateway):
    hosted = [
        read_line("chat", m, "1000", "", "hosted") for m in ("prompt", "cached", "completion")
    ]
    make_prices(ODD_PRICES, more=hosted)
    spend(gateway, acme, hosted="Example AI")
    spend(gateway, acme)
    bill_month(acme)
    with fleet_scope():
        skus = {grain(d).get("SkuId") for d in read_details(SPAN)} - {None}
    assert "chat/prompt/Example AI" in skus, skus


def test_a_draft_changes_nothing_of_what_was_invoiced(invoice):
    def said():
        with fleet_scope():
            return [detail_row(d)[5] for d in read_details(SPAN)]

    before = said()
    with fleet_scope():
        draft_version(
            SYSTEM,
            "list",
            why="an idea",
            prices=[
                read_line("chat", "prompt", "package 1000000:2.00"),
                read_line("chat", "cached", "1"),
                read_line("chat", "completion", "1"),
            ],
        )
    assert said() == before


def test_a_credit_note_is_billed_in_one_month_in_both_datasets(invoice):
    with fleet_scope():
        line = invoice.lines.filter(amount__gt=0).order_by("position").first()
        issue_credit_note(
            SYSTEM,
            invoice.number,
            lines=[Given(line.position, Decimal("0.01"))],
            why="w",
            now=NOVEMBER,
        )
        usage_months = {
            e.period_start
            for e in read_extras(SPAN, known=newest_documents())
            if e.invoice.startswith("CN-")
        }
        detail_months = {d.period_start for d in read_details(SPAN) if d.document.startswith("CN-")}
    assert usage_months == detail_months
