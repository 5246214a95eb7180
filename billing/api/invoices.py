"""Invoices and credit notes: rows, the frozen record, the PDF, and the charges of a line."""

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import credits
from billing.api.accounts import AmountField
from billing.api.charges import ChargeOut
from billing.api.exports import AnyAnswer
from billing.api.filters import tenant_id_of
from billing.queries import billed, invoices
from tenants.api.base.schema import IF_NONE_MATCH, NOT_MODIFIED, operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView, Pages
from tenants.errors import NotFound


class TenantFilter(serializers.Serializer[Any]):
    tenant = serializers.SlugField(required=False, max_length=63)


class InvoiceRowOut(serializers.Serializer[Any]):
    number = serializers.CharField()
    tenant_id = serializers.IntegerField()
    period = serializers.CharField(source="period.name")
    currency = serializers.CharField()
    priced_in = serializers.CharField(help_text="The currency of unit prices and charges")
    rate = serializers.DecimalField(24, 12, help_text="Units of the currency for one of prices")
    rate_on = serializers.DateField(allow_null=True, help_text="Null: nothing was converted")
    rate_source = serializers.CharField(allow_blank=True)
    net = serializers.DecimalField(38, 12)
    tax = serializers.DecimalField(38, 12)
    total = serializers.DecimalField(38, 12)
    issued_at = serializers.DateTimeField()
    issued_by = serializers.CharField()
    due_on = serializers.DateField()
    sha256 = serializers.CharField(help_text="Of the frozen record")
    pdf_sha256 = serializers.CharField()


class LineOut(serializers.Serializer[Any]):
    position = serializers.IntegerField(source="row.position")
    kind = serializers.CharField(
        source="row.kind",
        help_text="usage, correction, promotion, given_back, rounding (adds nothing), tax",
    )
    name = serializers.CharField(source="row.name")
    model = serializers.CharField(source="row.model", allow_blank=True)
    meter = serializers.CharField(source="row.meter", allow_blank=True)
    runs_on = serializers.CharField(source="row.runs_on", allow_blank=True)
    corrects = serializers.CharField(source="row.corrects", allow_blank=True)
    quantity = serializers.DecimalField(38, 6, source="row.quantity", allow_null=True)
    unit_price = serializers.DecimalField(24, 12, source="row.unit_price", allow_null=True)
    exact = serializers.DecimalField(38, 12, source="row.exact")
    amount = serializers.DecimalField(38, 12, source="row.amount")
    tax = serializers.DecimalField(38, 12, source="row.tax")
    charges = serializers.IntegerField(source="row.charges")
    charges_sha256 = serializers.CharField(source="row.charges_sha256", allow_blank=True)
    credited = serializers.DecimalField(38, 12)
    remains = serializers.DecimalField(38, 12)


class NoteRowOut(serializers.Serializer[Any]):
    number = serializers.CharField()
    tenant_id = serializers.IntegerField()
    invoice = serializers.CharField(source="invoice.number")
    currency = serializers.CharField()
    net = serializers.DecimalField(38, 12)
    tax = serializers.DecimalField(38, 12)
    total = serializers.DecimalField(38, 12)
    why = serializers.CharField()
    issued_at = serializers.DateTimeField()
    issued_by = serializers.CharField()
    sha256 = serializers.CharField()
    pdf_sha256 = serializers.CharField()


class UsedOut(serializers.Serializer[Any]):
    grant_id = serializers.IntegerField()
    name = serializers.CharField()
    paid = serializers.BooleanField(help_text="Prepaid: pays the total; else it lowered the net")
    amount = serializers.DecimalField(38, 12)


class WorthOut(serializers.Serializer[Any]):
    prepaid = serializers.DecimalField(38, 12, help_text="Paid from prepaid credits")
    to_pay = serializers.DecimalField(38, 12, help_text="The total less that")
    credits_used = UsedOut(many=True, source="used")
    remains = serializers.DecimalField(38, 12, help_text="After credit notes")
    rounding_difference = serializers.DecimalField(38, 12)
    lines = LineOut(many=True)
    credit_notes = NoteRowOut(many=True, source="notes")


class InvoiceOut(WorthOut, InvoiceRowOut):
    """A row, and what its lines, credits and credit notes are worth."""


class GivenIn(Strict):
    line = CountField(min_value=1, max_value=2**31 - 1, help_text="Position on the invoice")
    amount = AmountField(help_text="Before tax; at most what remains of the line")


class CreditIn(Strict):
    lines = GivenIn(many=True, allow_empty=False)
    why = TextField(max_length=2000)


class ChargePages(Pages):
    ordering = ("-hour", "-id")


def pdf_described(name: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = extend_schema(
        operation_id=name,
        parameters=[IF_NONE_MATCH],
        responses=NOT_MODIFIED | {(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    return found


class InvoicesView(ConsoleView):
    @operation("invoices_list", gives=InvoiceRowOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Newest first."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        return self.page(invoices.list_invoices(self.viewer, tenant_id=tenant_id), InvoiceRowOut)


class InvoiceView(ConsoleView):
    @operation("invoices_get", gives=InvoiceOut)
    def get(self, request: Request, number: str) -> Response:
        """With its lines, what credit notes left of each, and the credit notes."""
        found = invoices.get_invoice(self.viewer, number)
        return self.answer(InvoiceRowOut(found.row).data | WorthOut(found).data)


class LineChargesView(ConsoleView):
    pagination_class = ChargePages

    @operation("invoice_line_charges", gives=ChargeOut(many=True))
    def get(self, request: Request, number: str, position: int) -> Response:
        """The charges that a line sums up; their digest stands on the line."""
        found = invoices.get_invoice(self.viewer, number)
        line = invoices.get_line(found, position)
        if not line.has_charges:
            raise NotFound(f"Line {position} of {number} is {line.row.kind}: no charges")
        return self.page(billed.charges_of_line(line.row, found.row), ChargeOut)


class InvoiceRecordView(ConsoleView):
    @operation("invoices_record", gives=OpenApiTypes.OBJECT, is_frozen=True)
    def get(self, request: Request, number: str) -> HttpResponse:
        """The record as it was frozen. Its canonical JSON has the SHA-256 of the ETag."""
        return record(self, invoices.get_invoice(self.viewer, number).row)


class InvoicePdfView(ConsoleView):
    content_negotiation_class = AnyAnswer

    @pdf_described("invoices_pdf")
    def get(self, request: Request, number: str) -> HttpResponse:
        """With its SHA-256 as ETag."""
        return pdf(self, invoices.get_invoice(self.viewer, number).row)


class CreditNotesOfView(ConsoleView):
    @operation("credit_notes_create", takes=CreditIn, gives=NoteRowOut, status=201)
    def post(self, request: Request, number: str) -> Response:
        """Give back a part of lines, each at most with what remains of it."""
        given = self.given(CreditIn)
        note = credits.issue_credit_note(
            self.viewer,
            number,
            lines=[credits.Given(**line) for line in given["lines"]],
            why=given["why"],
            now=timezone.now(),
        )
        return self.answer(NoteRowOut(note).data, status=201)


class CreditNotesView(ConsoleView):
    @operation("credit_notes_list", gives=NoteRowOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Newest first."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        return self.page(invoices.list_credit_notes(self.viewer, tenant_id=tenant_id), NoteRowOut)


class CreditNoteRecordView(ConsoleView):
    @operation("credit_notes_record", gives=OpenApiTypes.OBJECT, is_frozen=True)
    def get(self, request: Request, number: str) -> HttpResponse:
        return record(self, invoices.get_credit_note(self.viewer, number))


class CreditNotePdfView(ConsoleView):
    content_negotiation_class = AnyAnswer

    @pdf_described("credit_notes_pdf")
    def get(self, request: Request, number: str) -> HttpResponse:
        return pdf(self, invoices.get_credit_note(self.viewer, number))


def record(view: ConsoleView, row: Any) -> HttpResponse:
    etag = f'"{row.sha256}"'
    return view.unless_known(etag) or view.answer(json.loads(row.snapshot), etag=etag)


def pdf(view: ConsoleView, row: Any) -> HttpResponse:
    etag = f'"{row.pdf_sha256}"'
    if known := view.unless_known(etag):
        return known
    answer = HttpResponse(bytes(row.pdf), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{row.number}.pdf"'
    answer["ETag"] = etag
    return answer
