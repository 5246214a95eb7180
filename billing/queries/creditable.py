"""Invoices that a bill below zero corrects, and what stands in the way of giving it back."""

from collections.abc import Collection

from django.db.models import Q, QuerySet

from billing.models import BillingPeriod, Invoice
from billing.queries.billed import has_unbilled
from billing.queries.invoices import InvoiceOut, get_invoice
from billing.rules.giving_back import Creditable, Sku
from billing.rules.periods import PeriodState
from tenants.rules.access import Viewer


def invoices_of_months(
    viewer: Viewer, tenant_id: int, months: Collection[str], currency: str
) -> list[InvoiceOut]:
    """Those in one currency that bill usage of these months, the newest first."""
    rows = _of_months(tenant_id, months).filter(currency=currency).order_by("-id")
    return [get_invoice(viewer, number) for number in rows.values_list("number", flat=True)]


def other_currency(viewer: Viewer, tenant_id: int, months: Collection[str], currency: str) -> str:
    """The number of an invoice in another currency that has something left, or nothing."""
    rows = _of_months(tenant_id, months).exclude(currency=currency).order_by("-id")
    found = (get_invoice(viewer, number) for number in rows.values_list("number", flat=True))
    return next(
        (x.row.number for x in found if x.row.net > x.credited_net and creditable_lines(x)), ""
    )


def unbilled_month(tenant_id: int, months: Collection[str]) -> str:
    """The first of these months that is closed and has charges on no invoice, or nothing."""
    rows = BillingPeriod.objects.filter(tenant_id=tenant_id, name__in=months)
    closed = rows.filter(state=PeriodState.CLOSED).order_by("starts_at")
    return next((p.name for p in closed if has_unbilled(p)), "")


def creditable_lines(found: InvoiceOut) -> list[Creditable]:
    return [
        Creditable(
            found.row.number,
            x.row.position,
            Sku(x.row.corrects or found.row.period.name, x.row.model, x.row.meter, x.row.runs_on),
            x.remains,
            x.uses,
        )
        for x in found.lines
        if x.may_credit
    ]


def _of_months(tenant_id: int, months: Collection[str]) -> QuerySet[Invoice]:
    billed = Q(period__name__in=months) | Q(lines__corrects__in=months)
    own = Invoice.objects.filter(billed, tenant_id=tenant_id)
    return Invoice.objects.filter(pk__in=own.values("pk"))
