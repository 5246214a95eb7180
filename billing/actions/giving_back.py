"""A bill below zero: credit notes give it back, each of one invoice that it corrects."""

from datetime import datetime
from decimal import Decimal

from billing.actions.credits import Given, issue_credit_note
from billing.models import BillingPeriod
from billing.queries.creditable import (
    creditable_lines,
    invoices_of_months,
    other_currency,
    unbilled_month,
)
from billing.rules.giving_back import owed_back, share_out
from billing.rules.invoices import Bill
from tenants.errors import Conflict
from tenants.rules.access import Viewer

NOTHING_LEFT = "Not given back: nothing is left of what was invoiced"


def give_back_by_notes(
    viewer: Viewer, period: BillingPeriod, bill: Bill, currency: str, *, now: datetime
) -> list[tuple[str, Decimal]]:
    """In the transaction of the bill. What it says of each part, and the part, above zero."""
    owed = owed_back(bill.rows, period.name)
    months = {sku.month for sku in owed}
    invoices = invoices_of_months(viewer, period.tenant_id, months, currency)
    lines = [line for found in invoices for line in creditable_lines(found)]
    lefts = {found.row.number: found.row.net - found.credited_net for found in invoices}
    taken, rest = share_out(owed, -bill.net, lines, lefts)
    if rest:
        _refuse_rest(viewer, period, months, currency)
    why = f"Less is charged for {', '.join(sorted(months))}"
    parts = []
    for number in lefts:
        given = [Given(at, amount) for (of, at), amount in sorted(taken.items()) if of == number]
        if given:
            note = issue_credit_note(viewer, number, lines=given, why=why, now=now)
            name = f"Given back by {note.number} of {number}"
            parts.append((name, sum((g.amount for g in given), Decimal(0))))
    return [*parts, (NOTHING_LEFT, rest)] if rest else parts


def _refuse_rest(viewer: Viewer, period: BillingPeriod, months: set[str], currency: str) -> None:
    """What invoices leave no room for was never paid, unless the invoice is another's to find."""
    if month := unbilled_month(period.tenant_id, months - {period.name}):
        raise Conflict(f"Less is charged for {month}, which is not billed yet: bill it first")
    if number := other_currency(viewer, period.tenant_id, months, currency):
        raise Conflict(
            f"{number}, of which something is given back, is in another currency than {currency}:"
            " set the account to that currency, bill this, and set it back"
        )
