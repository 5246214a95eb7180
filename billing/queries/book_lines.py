"""Periods, lines of documents and journal legs as lines of files."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from billing.models import (
    BillingPeriod,
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    JournalLeg,
    Price,
)
from billing.queries.calendars import read_calendars
from billing.queries.charged import ChargeFilter
from billing.rules.exchange import Exchange
from billing.rules.focus import SoldAs
from billing.rules.focus_books import CREDIT, DetailLine, PeriodLine
from billing.rules.invoices import LineKind
from billing.rules.ledger import LedgerLine
from billing.rules.periods import PeriodState
from tenants.queries.directory import tenant_refs
from tenants.rules.quotas import Month

CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Package:
    """A price of this kind, with whom it was agreed and when it held."""

    tenant_id: int | None  # None: the list's
    effective: Any  # psycopg's range of times

    def held_for(self, line: InvoiceLine) -> bool:
        return (
            self.tenant_id in (None, line.tenant_id)
            and self.effective.lower < line.ends_at
            and (self.effective.upper is None or self.effective.upper > line.starts_at)
        )


def read_periods(wanted: ChargeFilter) -> Iterator[PeriodLine]:
    """Periods that touch the range, and those that were closed in it."""
    touched = Q(starts_at__lt=wanted.end, ends_at__gt=wanted.start)
    closed = Q(closed_at__gte=wanted.start, closed_at__lt=wanted.end)
    names = tenant_refs()
    rows = _of_tenant(BillingPeriod.objects.filter(touched | closed), wanted)
    for p in rows.order_by("tenant_id", "starts_at").iterator(CHUNK):
        yield PeriodLine(
            tenant=names[p.tenant_id].slug,
            name=p.name,
            time_zone=p.time_zone,
            starts_at=p.starts_at,
            ends_at=p.ends_at,
            is_closed=p.state == PeriodState.CLOSED,
            created_at=p.created_at,
            changed_at=max(filter(None, (p.created_at, p.changed_at, p.cut_off, p.closed_at))),
        )


def read_details(wanted: ChargeFilter) -> Iterator[DetailLine]:
    """The lines of what was issued in the range: invoices, then credit notes."""
    tenants = tenant_refs()
    names = {pk: tenant.slug for pk, tenant in tenants.items()}
    packages = _packages()
    for invoice in _issued(Invoice.objects.select_related("period"), wanted):
        document = json.loads(invoice.snapshot)
        head = _head(invoice, invoice.period, names) | {
            "exchange": Exchange(invoice.priced_in, invoice.currency, invoice.rate),
            "due_on": invoice.due_on,
            "terms_days": document["terms_days"],
            "purchase_order": document["purchase_order"],
        }
        for line in invoice.lines.order_by("position"):
            if line.amount or line.exact:
                yield _of_invoice(line, head, packages)
    # As in CostAndUsage: billed in the month in which it is issued, not in the one that is closed.
    theirs = [tenants[wanted.tenant_id]] if wanted.tenant_id else list(tenants.values())
    calendars = read_calendars(theirs)
    for note in _issued(CreditNote.objects.select_related("invoice").defer("invoice__pdf"), wanted):
        month = calendars[note.tenant_id].month_at(note.issued_at)
        head = _head(note, month, names) | {
            "exchange": Exchange(note.currency, note.currency),
            "due_on": None,
            "terms_days": None,
            "purchase_order": json.loads(note.invoice.snapshot)["purchase_order"],
            "invoice": note.invoice.number,
        }
        yield from _of_note(note, head)


def document_totals(wanted: ChargeFilter) -> dict[str, Decimal]:
    """What the lines of each document add up to."""
    invoices = _issued(Invoice.objects.only("number", "total"), wanted)
    notes = _issued(CreditNote.objects.only("number", "total").exclude(total=0), wanted)
    return {i.number: i.total for i in invoices} | {n.number: -n.total for n in notes}


def read_legs(wanted: ChargeFilter) -> Iterator[LedgerLine]:
    """What was posted in the range, transaction by transaction."""
    names = tenant_refs()
    rows = JournalLeg.objects.filter(txn__at__gte=wanted.start, txn__at__lt=wanted.end)
    legs = _of_tenant(rows, wanted).select_related("txn").order_by("txn_id", "id")
    for leg in legs.iterator(CHUNK):
        yield LedgerLine(
            posted_at=leg.txn.at,
            entry=leg.txn.key,
            kind=leg.txn.kind,
            document=leg.txn.document,
            tenant=names[leg.tenant_id].slug,
            account=leg.account,
            currency=leg.currency,
            amount=leg.amount,
        )


def _of_tenant(rows: QuerySet[Any], wanted: ChargeFilter) -> QuerySet[Any]:
    return rows.filter(tenant_id=wanted.tenant_id) if wanted.tenant_id else rows


def _issued(rows: QuerySet[Any], wanted: ChargeFilter) -> Iterator[Any]:
    rows = rows.filter(issued_at__gte=wanted.start, issued_at__lt=wanted.end).defer("pdf")
    return _of_tenant(rows, wanted).order_by("id").iterator(CHUNK)


def _head(document: Any, period: BillingPeriod | Month, names: dict[int, str]) -> dict[str, Any]:
    return {
        "tenant": names[document.tenant_id],
        "document": document.number,
        "currency": document.currency,
        "issuer": document.issuer,
        "issued_at": document.issued_at,
        "period_start": period.starts_at,
        "period_end": period.ends_at,
    }


Packages = Mapping[tuple[str, str], Sequence[Package]]  # by service and meter


def _packages() -> Packages:
    """What is or was sold by the package: a line does not say which price made it."""
    published = Price.objects.filter(kind="package", book_version__published_at__isnull=False)
    of = "book_version__book__tenant_id", "book_version__effective"
    found: dict[tuple[str, str], list[Package]] = defaultdict(list)
    for model, meter, tenant_id, effective in published.values_list("model", "meter", *of):
        if not effective.isempty:
            found[model, meter].append(Package(tenant_id, effective))
    return found


def _of_invoice(line: InvoiceLine, head: dict[str, Any], packages: Packages) -> DetailLine:
    is_package = any(p.held_for(line) for p in packages.get((line.model, line.meter), ()))
    return DetailLine(
        **head,
        place=str(line.position),
        kind=line.kind,
        name=line.name,
        model=line.model,
        meter=line.meter,
        runs_on=line.runs_on,
        corrects=line.corrects,
        unit_price=line.unit_price,
        amount=line.amount,
        exact=line.exact,
        sold_as=SoldAs.PACKAGE if is_package else SoldAs.USE,
    )


def _of_note(note: CreditNote, head: dict[str, Any]) -> Iterator[DetailLine]:
    nothing = dict.fromkeys(("model", "meter", "runs_on", "corrects"), "")
    plain: dict[str, Any] = nothing | {"unit_price": None}
    lines = CreditNoteLine.objects.filter(note=note).select_related("line").order_by("position")
    for row in lines.exclude(amount=0):  # 0: all of it went back to a promotion
        given = plain | {"place": str(row.position), "kind": CREDIT, "name": row.line.name}
        yield DetailLine(**head, **given, amount=-row.amount, exact=-row.amount)
    if note.tax:
        name = "Tax of what is credited"
        given = plain | {"place": "tax", "kind": LineKind.TAX.value, "name": name}
        yield DetailLine(**head, **given, amount=-note.tax, exact=-note.tax)
