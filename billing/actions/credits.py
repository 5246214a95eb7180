"""Credit notes: give back a part of an invoice's lines. The invoice itself never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from billing.actions.documents import (
    CREDIT,
    begin_entry,
    document_head,
    facts_of_document,
    lock_series,
    seal,
    take_number,
)
from billing.actions.events import tell
from billing.actions.grants import expire_of, give_back
from billing.actions.journal import post
from billing.models import CreditNote, CreditNoteLine
from billing.queries.accounts import accounts_of, read_taxes
from billing.queries.grants import lock_used
from billing.queries.invoices import InvoiceOut, get_invoice, get_line
from billing.rules.documents import amount_text, credit_document
from billing.rules.grants import undo
from billing.rules.invoices import (
    Remains,
    Terms,
    refuse_credit,
    tax_to_credit,
)
from billing.rules.journal import legs_of_credit
from billing.rules.webhooks import Kind
from tenants.actions.audit import record
from tenants.errors import Invalid
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Given:
    """What is given back of one line, before tax."""

    line: int  # its position on the invoice
    amount: Decimal


@transaction.atomic
def issue_credit_note(
    viewer: Viewer, number: str, *, lines: Sequence[Given], why: str, now: datetime
) -> CreditNote:
    """Credit lines of an invoice, each at most with what earlier notes left of it.

    What credits paid of a line goes back to them first, in the order in which they paid.
    """
    begin_entry()
    viewer.require(Permission.MANAGE_MONEY, get_invoice(viewer, number).row.tenant_id)
    if not why.strip():
        raise Invalid(why="Say why: the customer reads this on the credit note")
    if not lines or len({g.line for g in lines}) < len(lines):
        raise Invalid(lines="Name at least one line of the invoice, each once")
    series = lock_series(CREDIT)
    invoice = get_invoice(viewer, number).row
    expire_of(invoice.tenant_id, now)
    lock_used(invoice)
    found = get_invoice(viewer, number)  # after the locks: nobody else credits it meanwhile
    rows = _credited(found, lines)
    net = sum((r["amount"] for r in rows), Decimal(0))
    tax = sum((r["tax"] for r in rows), Decimal(0))
    note = _write(viewer, found, rows, net, tax, why.strip(), take_number(series), now)
    _write_lines(note, rows)
    give_back(note, {r["line_id"]: r["undone"] for r in rows}, by=viewer.email)
    promoted = sum((r["promoted"] for r in rows), Decimal(0))
    post(
        note.tenant_id,
        key=f"credit:{note.issuer[:80]}:{note.number}",
        kind="credit_note",
        document=note.number,
        currency=note.currency,
        legs=legs_of_credit(net=net, tax=tax, promoted=promoted),
        at=now,
        by=viewer.email,
    )
    after = {"number": note.number, "total": amount_text(note.total, note.currency)}
    record(viewer, "credit_note.issue", note, after=after, why=why)
    told = facts_of_document(note) | {"invoice": number, "why": note.why}
    tell(Kind.CREDIT_NOTE, note.number, told, tenant_id=note.tenant_id, now=now)
    return note


def _write_lines(note: CreditNote, rows: Sequence[Mapping[str, Any]]) -> None:
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            tenant_id=note.tenant_id,
            note=note,
            line_id=r["line_id"],
            position=r["position"],
            amount=r["amount"],
            promoted=r["promoted"],
            tax=r["tax"],
        )
        for r in rows
    )


def _credited(found: InvoiceOut, lines: Sequence[Given]) -> list[dict[str, Any]]:
    """Each line against what remains, the ones before it counted in."""
    invoice = found.row
    terms = Terms(invoice.currency, invoice.rounding, read_taxes(invoice.taxes), invoice.tax_per)
    net_left, tax_left = invoice.net - found.credited_net, invoice.tax - found.credited_tax
    rows: list[dict[str, Any]] = []
    for position, given in enumerate(lines, start=1):
        line = get_line(found, given.line)
        if not line.has_charges:
            raise Invalid(lines=f"Line {given.line} is no usage: its tax follows the credited line")
        left = Remains(line.remains, net_left, tax_left, line.lost)
        undone = undo(line.uses, given.amount)
        promoted = sum((u.amount for u in undone if not u.paid), Decimal(0))
        if fault := refuse_credit(given.amount, left, invoice.currency, promoted=promoted):
            raise Invalid(lines=f"Line {given.line}: {fault}")
        net = given.amount - promoted
        tax = tax_to_credit(net, left, terms)
        net_left, tax_left = net_left - net, tax_left - tax
        rows.append(
            {
                "position": position,
                "line": given.line,
                "line_id": line.row.pk,
                "name": line.row.name,
                "amount": net,
                "promoted": promoted,
                "undone": undone,
                "tax": tax,
            }
        )
    return rows


def _write(
    viewer: Viewer,
    found: InvoiceOut,
    rows: Sequence[Mapping[str, Any]],
    net: Decimal,
    tax: Decimal,
    why: str,
    taken: tuple[int, str],
    now: datetime,
) -> CreditNote:
    invoice = found.row
    account = accounts_of(list(tenant_refs([invoice.tenant_id]).values()))[invoice.tenant_id]
    head = document_head(invoice.period, account, invoice.currency, taken[1], now)
    document = credit_document(rows, head=head, invoice=invoice.number, why=why, net=net, tax=tax)
    return CreditNote.objects.create(
        tenant_id=invoice.tenant_id,
        invoice=invoice,
        issuer=settings.QM_ISSUER,
        sequence=taken[0],
        number=taken[1],
        currency=invoice.currency,
        net=net,
        tax=tax,
        total=net + tax,
        issued_at=now,
        issued_by=viewer.email,
        why=why,
        **seal(document),
    )
