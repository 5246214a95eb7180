"""Invoices and credit notes: what was issued, what remains of it, and the rows behind a line."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from django.db.models import F, Model, QuerySet, Sum

from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.queries.grants import Used, standing_uses, used_on
from billing.queries.visibility import visible_tenants
from billing.rules.grants import Use, lost_of
from billing.rules.invoices import LineKind, Remains
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

UNSEEN = "There is nothing here, or it is not yours to see"
ZERO = Decimal(0)
M = TypeVar("M", bound=Model)
HEAVY = ("snapshot", "pdf")


@dataclass(frozen=True, slots=True)
class LineOut:
    """A line with what credit notes left of it."""

    row: InvoiceLine
    credited: Decimal  # in money and to promotions
    has_charges: bool
    uses: tuple[Use, ...] = ()  # credits that stand as paid for it

    @property
    def lost(self) -> Decimal:
        return lost_of(self.uses)

    @property
    def remains(self) -> Decimal:
        return self.row.amount - self.credited - self.lost

    @property
    def may_credit(self) -> bool:
        return self.has_charges and self.remains > 0


@dataclass(frozen=True, slots=True)
class InvoiceOut:
    row: Invoice
    lines: tuple[LineOut, ...]
    notes: tuple[CreditNote, ...]
    credited_net: Decimal
    credited_tax: Decimal
    used: tuple[Used, ...]  # credits that it drew on

    @property
    def prepaid(self) -> Decimal:
        return sum((u.amount for u in self.used if u.paid), ZERO)

    @property
    def to_pay(self) -> Decimal:
        return self.row.total - self.prepaid

    @property
    def rounding_difference(self) -> Decimal:
        return sum((x.row.exact for x in self.lines if x.row.kind == LineKind.ROUNDING), ZERO)

    @property
    def remains(self) -> Decimal:
        return self.row.total - self.credited_net - self.credited_tax

    def remains_of(self, line: LineOut) -> Remains:
        return Remains(
            line.remains, self.row.net - self.credited_net, self.row.tax - self.credited_tax
        )


def list_invoices(
    viewer: Viewer, *, tenant_id: int | None = None, period_id: int | None = None
) -> QuerySet[Invoice]:
    """Newest first, without the frozen texts."""
    rows = Invoice.objects.defer(*HEAVY).select_related("period").order_by("-id")
    tenants = visible_tenants(viewer, tenant_id)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    return rows.filter(period_id=period_id) if period_id else rows


def list_credit_notes(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[CreditNote]:
    rows = CreditNote.objects.defer(*HEAVY).select_related("invoice").order_by("-id")
    tenants = visible_tenants(viewer, tenant_id)
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def get_invoice(viewer: Viewer, number: str) -> InvoiceOut:
    row = Invoice.objects.select_related("period").filter(number=number).first()
    row = _mine(viewer, row, None if row is None else row.tenant_id)
    sums = CreditNoteLine.objects.filter(line__invoice=row).values_list("line_id")
    credited = dict(sums.annotate(s=Sum(F("amount") + F("promoted"))).order_by("line_id"))
    uses = standing_uses(row)
    notes = tuple(row.credit_notes.defer(*HEAVY).order_by("id"))
    return InvoiceOut(
        row=row,
        lines=tuple(
            LineOut(
                line,
                credited.get(line.pk, ZERO),
                line.kind in (LineKind.USAGE, LineKind.CORRECTION),
                tuple(uses.get(line.pk, ())),
            )
            for line in row.lines.order_by("position")
        ),
        notes=notes,
        credited_net=sum((n.net for n in notes), ZERO),
        credited_tax=sum((n.tax for n in notes), ZERO),
        used=tuple(used_on(row)),
    )


def get_line(found: InvoiceOut, position: int) -> LineOut:
    line = next((x for x in found.lines if x.row.position == position), None)
    if line is None:
        raise NotFound(f"{found.row.number} has no line {position}")
    return line


def get_credit_note(viewer: Viewer, number: str) -> CreditNote:
    row = CreditNote.objects.select_related("invoice__period").filter(number=number).first()
    return _mine(viewer, row, None if row is None else row.tenant_id)


def _mine(viewer: Viewer, row: M | None, tenant_id: int | None) -> M:
    if row is None:
        raise NotFound(UNSEEN)
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    return row
