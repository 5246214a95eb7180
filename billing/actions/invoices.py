"""Invoices of closed periods: numbered without a gap, frozen, posted, in one transaction.

1. Lock the series of numbers, which is the order in which invoices come to be.
2. Sum the charges of the period that no invoice has, converted where their prices are in another
   currency; round at the line, let credits pay, add tax.
3. Below zero: credit notes give it back, and the invoice says so and asks for nothing.
4. Take the next number; write invoice, lines, snapshot, PDF and the journal's transaction.
"""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from billing.actions.documents import (
    CREDIT,
    INVOICE,
    begin_entry,
    document_head,
    facts_of_document,
    lock_series,
    seal,
    take_number,
)
from billing.actions.events import tell
from billing.actions.giving_back import give_back_by_notes
from billing.actions.grants import expire_of, use_on
from billing.actions.journal import post
from billing.actions.reexports import export_billed
from billing.models import BillingPeriod, DocumentSeries, Invoice, InvoiceLine
from billing.queries.accounts import Account, accounts_of
from billing.queries.billed import (
    billed_currencies,
    billed_sums,
    invoiced_upto,
    newest_charge,
)
from billing.queries.exchange import wanted_rates
from billing.queries.grants import usable
from billing.queries.periods import get_period
from billing.rules.documents import invoice_document, invoice_lines
from billing.rules.exchange import Exchange
from billing.rules.invoices import Bill, make_bill, settle
from billing.rules.journal import legs_of_invoice
from billing.rules.periods import PeriodState
from billing.rules.webhooks import Kind
from tenants.actions.audit import record
from tenants.errors import Conflict
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def issue_invoices(viewer: Viewer, period_id: int, *, now: datetime) -> list[Invoice]:
    """Bill what a closed period has and no invoice has yet, in the account's currency.

    One invoice for each currency of prices, so that each has one exchange rate. What is below zero
    is given back by credit notes of the invoices that it corrects.
    """
    begin_entry()
    period = get_period(viewer, period_id)
    viewer.require(Permission.MANAGE_MONEY, period.tenant_id)
    series = lock_series(INVOICE)
    period.refresh_from_db()  # another issue may have been faster, or somebody opened it again
    if period.state != PeriodState.CLOSED:
        raise Conflict(f"The period {period.name} is {period.state}; close it, then bill it")
    after = invoiced_upto(period)
    upto = newest_charge(period, after=after)
    account = accounts_of(list(tenant_refs([period.tenant_id]).values()))[period.tenant_id]
    exchanges = _exchanges(period, account, (after, upto), now)
    sums = billed_sums(period, after=after, upto=upto, exchanges=exchanges)
    if not sums:
        raise Conflict(f"Nothing of {period.name} is left to bill: every charge is on an invoice")
    terms = account.terms(account.currency)
    if any(make_bill(charged, terms).net < 0 for charged in sums.values()):
        lock_series(CREDIT)  # before credits of the account, as whoever issues a credit note does
        expire_of(period.tenant_id, now)
    found = []
    for base, charged in sums.items():
        bill = make_bill(charged, terms, usable(period.tenant_id, account.currency, now))
        if bill.net < 0:
            parts = give_back_by_notes(viewer, period, bill, account.currency, now=now)
            bill = settle(bill, parts)
        exchange = exchanges[base]
        found.append(_issue(viewer, period, account, exchange, bill, series, (after, upto), now))
    export_billed(period, found, now)
    return found


def _exchanges(
    period: BillingPeriod, account: Account, charges: tuple[int, int], now: datetime
) -> dict[str, Exchange]:
    """By the currency of prices. The close asked for them; the terms may have changed since."""
    currencies = billed_currencies(period, after=charges[0], upto=charges[1])
    found = {base: Exchange(base, account.currency) for base in currencies}
    for wanted in wanted_rates(period, account, currencies, now):
        if wanted.found is None:
            raise Conflict(wanted.way_out)
        found[wanted.base] = wanted.found
    return found


def _issue(
    viewer: Viewer,
    period: BillingPeriod,
    account: Account,
    exchange: Exchange,
    bill: Bill,
    series: DocumentSeries,
    charges: tuple[int, int],
    now: datetime,
) -> Invoice:
    (sequence, number), currency = take_number(series), exchange.quote
    lines = invoice_lines(bill, currency, period.starts_at, period.ends_at)
    document = invoice_document(
        bill,
        lines,
        head=document_head(period, account, currency, number, now),
        due_on=(due_on := due_date(account, now)),
        charges=charges,
        exchange=exchange,
    )
    invoice = Invoice.objects.create(
        tenant_id=period.tenant_id,
        period=period,
        issuer=settings.QM_ISSUER,
        sequence=sequence,
        number=number,
        currency=currency,
        rounding=account.rounding,
        tax_per=account.tax_per,
        taxes=document["taxes"],
        net=bill.net,
        tax=bill.tax,
        total=bill.total,
        due_on=due_on,
        **frozen(exchange),
        after_charge=charges[0],
        upto_charge=charges[1],
        issued_at=now,
        issued_by=viewer.email,
        **seal(document),
    )
    rows = InvoiceLine.objects.bulk_create(
        InvoiceLine(tenant_id=period.tenant_id, invoice=invoice, **line) for line in lines
    )
    _post(invoice, bill, viewer, now)
    use_on(invoice, dict(enumerate(rows)), bill.draws, by=viewer.email)
    _report(viewer, invoice, now)
    return invoice


def _report(viewer: Viewer, invoice: Invoice, now: datetime) -> None:
    """To the record of who did what, and to whom it concerns."""
    facts = facts_of_document(invoice)
    after = {name: facts[name] for name in ("number", "total", "sha256")}
    record(viewer, "invoice.issue", invoice, after=after)
    told = facts | {"period": invoice.period.name, "due_on": str(invoice.due_on)}
    tell(Kind.INVOICE, invoice.number, told, tenant_id=invoice.tenant_id, now=now)


def frozen(exchange: Exchange) -> dict[str, Any]:
    """The rate as the row of an invoice keeps it."""
    return {
        "priced_in": exchange.base,
        "rate": exchange.rate,
        "rate_on": exchange.on,
        "rate_source": exchange.source,
    }


def _post(invoice: Invoice, bill: Bill, viewer: Viewer, now: datetime) -> None:
    post(
        invoice.tenant_id,
        key=f"invoice:{invoice.issuer[:80]}:{invoice.number}",
        kind=INVOICE,
        document=invoice.number,
        currency=invoice.currency,
        legs=legs_of_invoice(
            exact=bill.exact + bill.given_back,
            net=bill.net,
            tax=bill.tax,
            promoted=bill.promoted,
        ),
        at=now,
        by=viewer.email,
    )


def due_date(account: Account, now: datetime) -> date:
    """The account's days of credit, by the calendar of its own zone."""
    return now.astimezone(ZoneInfo(account.time_zone)).date() + timedelta(days=account.terms_days)
