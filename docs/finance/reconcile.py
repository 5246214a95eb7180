"""Reconcile a billed month over the REST API, with the client that is generated from its schema.

    python -m sandbox.quality.client quartermaster_client
    QM_URL=http://127.0.0.1:8000 QM_TOKEN=qmt_... python docs/finance/reconcile.py acme 2026-10

Each invoice of the month is added up again from its lines, each line from its charges, and the
frozen record from its digest. Status: 0 all agree, 1 something differs, 2 it could not be read.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from quartermaster_client import AuthenticatedClient
from quartermaster_client.api.billing_periods import billing_periods_list
from quartermaster_client.api.invoices import (
    invoice_line_charges,
    invoices_get,
    invoices_list,
    invoices_record,
)
from quartermaster_client.models import ChargeOut, InvoiceOut, LineOut, Problem
from quartermaster_client.types import UNSET, Unset

T = TypeVar("T")
CHARGED = ("usage", "correction")  # kinds of lines that have charges


class Refused(Exception):
    """What the API said."""


def need(answer: T | Problem | None) -> T:
    if answer is None or isinstance(answer, Problem):
        raise Refused(answer.detail if answer else "The API gave no answer")
    return answer


def all_pages(read: Callable[[str | Unset], Any]) -> Iterator[Any]:
    """Rows of every page: `next` names the cursor of the one after."""
    cursor: str | Unset = UNSET
    while True:
        page = need(read(cursor))
        yield from page.results
        if not page.next_:
            return
        cursor = parse_qs(urlsplit(page.next_).query)["cursor"][0]


def invoices_of(client: AuthenticatedClient, tenant: str, month: str) -> list[InvoiceOut]:
    periods = all_pages(
        lambda at: billing_periods_list.sync(client=client, tenant=tenant, cursor=at)
    )
    state = next((p.state for p in periods if p.name == month), "not there")
    if state != "closed":
        raise Refused(f"The month {month} of {tenant} is {state}: close and bill it first")
    rows = all_pages(lambda at: invoices_list.sync(client=client, tenant=tenant, cursor=at))
    numbers = [row.number for row in rows if row.period == month]
    return [need(invoices_get.sync(number, client=client)) for number in numbers]


def charges_of(client: AuthenticatedClient, number: str, position: int) -> Iterator[ChargeOut]:
    return all_pages(
        lambda at: invoice_line_charges.sync(number, position, client=client, cursor=at, limit=1000)
    )


def compare(what: str, left: object, right: object) -> bool:
    print(f"{'same  ' if left == right else 'DIFFER'}  {what}: {left} and {right}")
    return left == right


def check_line(client: AuthenticatedClient, invoice: InvoiceOut, line: LineOut) -> bool:
    """Prices may be in another currency than the invoice: quantities agree in any."""
    charges = list(charges_of(client, invoice.number, line.position))
    name = f"{invoice.number} line {line.position}, {line.name}"
    quantity = sum((Decimal(c.quantity) for c in charges), Decimal(0))
    same = compare(f"{name}: charges and line", quantity, Decimal(line.quantity or 0))
    if invoice.currency != invoice.priced_in:
        return same
    amount = sum((Decimal(c.amount) for c in charges), Decimal(0))
    return compare(f"{name}: amounts of charges and line", amount, Decimal(line.exact)) and same


def check_invoice(client: AuthenticatedClient, invoice: InvoiceOut) -> bool:
    lines = sum((Decimal(line.amount) for line in invoice.lines), Decimal(0))
    exact = sum((Decimal(line.exact) for line in invoice.lines), Decimal(0))
    total = Decimal(invoice.total)
    record = need(invoices_record.sync(invoice.number, client=client))
    text = json.dumps(record.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = [
        compare(f"{invoice.number}: sum of lines and total", lines, total),
        compare(f"{invoice.number}: sum of exact lines and total", exact, total),
        compare(
            f"{invoice.number}: digest of the record",
            hashlib.sha256(text.encode()).hexdigest(),
            invoice.sha256,
        ),
        *(check_line(client, invoice, line) for line in invoice.lines if line.kind in CHARGED),
    ]
    return all(found)


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    client = AuthenticatedClient(base_url=os.environ["QM_URL"], token=os.environ["QM_TOKEN"])
    try:
        with client:
            found = invoices_of(client, sys.argv[1], sys.argv[2])
            same = [check_invoice(client, invoice) for invoice in found]
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(f"{len(found)} invoices, {same.count(False)} that differ")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
