"""Invoices and credit notes: each figure leads to the rows behind it."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import credits
from billing.queries import billed, grants
from billing.queries import invoices as queries
from billing.queries.charged import ChargeFilter
from billing.queries.money import names_of
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import by_slug
from console.forms import explain
from console.forms.books import CreditForm
from console.views.charges import usage_of, within
from tenants.errors import ConsoleError, NotFound
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    "number", "tenant_id", "period__name", "currency", "net", "tax", "total", "issued_at",
    "due_on", "priced_in", "rate", "rate_on", "rate_source", "sha256", "pdf_sha256",
)  # fmt: skip
NOTE_COLUMNS = (
    "number", "tenant_id", "invoice__number", "currency", "net", "tax", "total", "issued_at",
    "issued_by", "why", "sha256", "pdf_sha256",
)  # fmt: skip
CHARGE_COLUMNS = (
    "id", "hour", "application_id", "model", "traffic_class", "meter", "quantity", "unit_price",
    "amount", "currency", "book_version_id", "run_id",
)  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first. `tenant` narrows it; `kind=credit` shows credit notes."""
    tenant = by_slug(tenant_refs().values(), request.GET.get("tenant", ""))
    tenant_id = tenant.id if tenant else None
    is_credit = request.GET.get("kind") == "credit"
    names = {t.id: t.slug for t in tenant_refs().values()}
    rows: Any = (queries.list_credit_notes if is_credit else queries.list_invoices)(
        request.viewer, tenant_id=tenant_id
    )
    if wants_file(request):
        columns = NOTE_COLUMNS if is_credit else COLUMNS
        noun = "credit-notes" if is_credit else "invoices"
        return download(request, noun, columns, rows.values_list(*columns).iterator())
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [(row, names.get(row.tenant_id, "")) for row in page.object_list],
        "is_credit": is_credit,
        "tenant": tenant,
    }
    return render(request, "invoices/index.html", context)


@require_GET
def show(request: ViewerRequest, number: str) -> HttpResponse:
    found = queries.get_invoice(request.viewer, number)
    context = {
        "found": found,
        "invoice": found.row,
        "tenant": tenant_refs([found.row.tenant_id])[found.row.tenant_id],
        "may_credit": request.viewer.may(Permission.MANAGE_MONEY)
        and any(line.may_credit for line in found.lines),
    }
    return render(request, "invoices/show.html", context)


@require_GET
def line(request: ViewerRequest, number: str, position: int) -> HttpResponse:
    """The charges that a line sums up; each leads to its hours, these to requests."""
    found = queries.get_invoice(request.viewer, number)
    shown = queries.get_line(found, position)
    if not shown.has_charges:
        raise NotFound(f"Line {position} of {number} is {shown.row.kind}: it has no charges")
    rows = billed.charges_of_line(shown.row, found.row)
    if wants_file(request):
        values = rows.values_list(*CHARGE_COLUMNS).iterator()
        return download(request, f"{number}-{position}", CHARGE_COLUMNS, values)
    page = Paginator(rows, 100).get_page(request.GET.get("page"))
    names = names_of("application_id", ())
    period = found.row.period
    wanted = ChargeFilter(period.starts_at, period.ends_at)
    slug = tenant_refs([found.row.tenant_id])[found.row.tenant_id].slug
    context = {
        "invoice": found.row,
        "line": shown.row,
        "page": page,
        "total": rows.aggregate(s=Sum("amount"))["s"],
        "lines": [
            (c, names.get(c.application_id, ""), usage_of(slug, within(wanted, c), c.meter))
            for c in page.object_list
        ],
    }
    return render(request, "invoices/line.html", context)


@require_http_methods(["GET", "POST"])
def credit(request: ViewerRequest, number: str) -> HttpResponse:
    """Give back a part of an invoice's lines."""
    found = queries.get_invoice(request.viewer, number)
    request.viewer.require(Permission.MANAGE_MONEY, found.row.tenant_id)
    lines = [x for x in found.lines if x.may_credit]
    form = CreditForm(request.POST or None, lines=lines, currency=found.row.currency)
    if request.method == "POST" and form.is_valid():
        try:
            note = credits.issue_credit_note(
                request.viewer, number, lines=form.given(), why=form.cleaned_data["why"],
                now=timezone.now(),
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Issued {note.number}")
            return redirect("credit_note", number=note.number)
    context = {"found": found, "invoice": found.row, "form": form, "lines": lines}
    return render(request, "invoices/credit.html", context, status=422 if form.errors else 200)


@require_GET
def note(request: ViewerRequest, number: str) -> HttpResponse:
    row = queries.get_credit_note(request.viewer, number)
    context = {
        "note": row,
        "lines": row.lines.select_related("line").order_by("position"),
        "undone": grants.undone_by(row),
        "tenant": tenant_refs([row.tenant_id])[row.tenant_id],
    }
    return render(request, "invoices/note.html", context)


@require_GET
def record(request: ViewerRequest, number: str) -> HttpResponse:
    return frozen(queries.get_invoice(request.viewer, number).row)


@require_GET
def pdf(request: ViewerRequest, number: str) -> HttpResponse:
    return printed(queries.get_invoice(request.viewer, number).row)


@require_GET
def note_record(request: ViewerRequest, number: str) -> HttpResponse:
    return frozen(queries.get_credit_note(request.viewer, number))


@require_GET
def note_pdf(request: ViewerRequest, number: str) -> HttpResponse:
    return printed(queries.get_credit_note(request.viewer, number))


def frozen(row: Any) -> HttpResponse:
    """The record's own bytes, which have its SHA-256."""
    answer = HttpResponse(row.snapshot.encode(), content_type="application/json")
    return named(answer, f"{row.number}.json", row.sha256)


def printed(row: Any) -> HttpResponse:
    answer = HttpResponse(bytes(row.pdf), content_type="application/pdf")
    return named(answer, f"{row.number}.pdf", row.pdf_sha256)


def named(answer: HttpResponse, filename: str, sha256: str) -> HttpResponse:
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    answer["X-Content-SHA256"] = sha256
    answer["Cache-Control"] = "no-store"
    return answer
