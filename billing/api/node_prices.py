"""What an hour of a GPU costs us, by the nodes it is in: sheets and their lines."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import node_prices as actions
from billing.actions import sheet_publication
from billing.api.prices import PriceField
from billing.queries import node_prices as queries
from billing.queries.sheet_preview import preview_sheet
from billing.rules.node_prices import CAPACITIES, NodeLine, PayKind
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView

OF_PARTS = "Of an hour, by what it pays for; they add up to it exactly"
OF_TERMS = (
    "on_demand, spot: hourly. reserved: upfront, months; may have hourly, gpus (paid whether they"
    " are there or not). owned: purchase, months; may have residual, watts, pue, kwh (price of a"
    " kWh), hosting (a month). All of one GPU; a month is 730 hours"
)


class NodeLineIn(Strict):
    product = TextField(max_length=120)
    kind = serializers.ChoiceField([k.value for k in PayKind])
    terms = serializers.DictField(child=PriceField(), help_text=OF_TERMS)
    cluster = TextField(required=False, default="", allow_blank=True, max_length=63)
    node_pool = TextField(required=False, default="", allow_blank=True, max_length=63)
    capacity = serializers.ChoiceField(
        ("", *CAPACITIES), required=False, default="", help_text="Empty: of every kind"
    )


class GpuPricesIn(Strict):
    currency = TextField(max_length=3)
    hourly = serializers.DictField(
        child=PriceField(),
        required=False,
        help_text="GPU product: price of an hour, whatever node it is in",
    )
    lines = NodeLineIn(many=True, required=False, help_text="What differs by node")
    starts_at = serializers.DateTimeField()
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class SheetIn(Strict):
    currency = TextField(max_length=3)
    lines = NodeLineIn(many=True, allow_empty=False)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class SheetProposalIn(Strict):
    starts_at = serializers.DateTimeField()
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class SheetPreviewLineOut(serializers.Serializer[Any]):
    cluster = serializers.CharField(allow_blank=True)
    node_pool = serializers.CharField(allow_blank=True)
    capacity = serializers.CharField(allow_blank=True)
    product = serializers.CharField()
    gpu_ms = serializers.IntegerField()
    old = serializers.DecimalField(38, 12)
    new = serializers.DecimalField(38, 12)
    difference = serializers.DecimalField(38, 12)
    unpriced_before = serializers.IntegerField(help_text="GPU-milliseconds without a price")
    unpriced = serializers.IntegerField(help_text="GPU-milliseconds without a price, then")


class SheetPreviewOut(serializers.Serializer[Any]):
    month = serializers.CharField()
    currency = serializers.CharField()
    hours = serializers.IntegerField(help_text="That were attributed in this currency")
    hours_in_others = serializers.IntegerField(help_text="In no sum here")
    old = serializers.DecimalField(38, 12)
    new = serializers.DecimalField(38, 12)
    difference = serializers.DecimalField(38, 12)
    lines = SheetPreviewLineOut(many=True)


class LineChangeOut(serializers.Serializer[Any]):
    product = serializers.CharField(source="line.product")
    cluster = serializers.CharField(source="line.cluster", allow_blank=True)
    node_pool = serializers.CharField(source="line.node_pool", allow_blank=True)
    capacity = serializers.CharField(source="line.capacity", allow_blank=True)
    was = serializers.DecimalField(24, 12, source="was.rate.hourly", allow_null=True)
    will = serializers.DecimalField(24, 12, source="will.rate.hourly", allow_null=True)
    change = serializers.CharField(help_text="same, new, gone, dearer, cheaper, other")


class LineChangesOut(serializers.Serializer[Any]):
    lines = LineChangeOut(many=True)


class GpuPriceOut(serializers.Serializer[Any]):
    product = serializers.CharField()
    hourly = serializers.DecimalField(24, 12)
    kind = serializers.CharField(help_text="on_demand, reserved, spot, owned")
    cluster = serializers.CharField(allow_blank=True, help_text="Empty: every cluster")
    node_pool = serializers.CharField(allow_blank=True, help_text="Empty: every pool")
    capacity = serializers.CharField(allow_blank=True, help_text="Empty: every kind")
    terms = serializers.DictField(child=serializers.CharField())
    parts = serializers.DictField(child=serializers.CharField(), help_text=OF_PARTS)


class GpuSheetOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    currency = serializers.CharField()
    starts_at = serializers.DateTimeField(
        source="effective.lower", allow_null=True, help_text="Null: a draft"
    )
    ends_at = serializers.DateTimeField(source="effective.upper", allow_null=True)
    why = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField()
    change_id = serializers.IntegerField(allow_null=True)
    prices = GpuPriceOut(many=True, source="prices.all")


def line_in(given: dict[str, Any]) -> NodeLine:
    terms: dict[str, Decimal] = given["terms"]
    scope = {name: given[name] for name in ("cluster", "node_pool", "capacity")}
    return NodeLine(given["product"], PayKind(given["kind"]), terms, **scope)


class GpuPricesView(ConsoleView):
    @operation("gpu_prices_list", gives=GpuSheetOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_sheets(self.viewer), GpuSheetOut)

    @operation("gpu_prices_create", takes=GpuPricesIn, gives=GpuSheetOut, status=201)
    def post(self, request: Request) -> Response:
        """Say what an hour of each GPU costs us from an hour on."""
        given = self.given(GpuPricesIn)
        lines = [line_in(line) for line in given.pop("lines", [])]
        sheet = actions.set_gpu_prices(self.viewer, now=timezone.now(), lines=lines, **given)
        sheet.refresh_from_db()
        return self.answer(GpuSheetOut(sheet).data, status=201)


class SheetDraftsView(ConsoleView):
    @operation("gpu_sheets_draft", takes=SheetIn, gives=GpuSheetOut, status=201)
    def post(self, request: Request) -> Response:
        """Draft a complete sheet; it holds for nothing until it is published."""
        sheet = actions.draft_sheet(self.viewer, **sheet_in(self.given(SheetIn)))
        return answered(self, sheet.number, 201)


class SheetView(ConsoleView):
    @operation("gpu_sheets_get", gives=GpuSheetOut)
    def get(self, request: Request, number: int) -> Response:
        return answered(self, number)

    @operation("gpu_sheets_put", takes=SheetIn, gives=GpuSheetOut, if_match=True)
    def put(self, request: Request, number: int) -> Response:
        """Write a draft anew. A published sheet never changes."""
        given = sheet_in(self.given(SheetIn))
        actions.edit_sheet(
            self.viewer,
            number,
            expected=self.expected_version(of=queries.find_sheet(self.viewer, number).pk),
            **given,
        )
        return answered(self, number)


class SheetProposeView(ConsoleView):
    @operation("gpu_sheets_propose", takes=SheetProposalIn, gives=GpuSheetOut, if_match=True)
    def post(self, request: Request, number: int) -> Response:
        """Ask an approver to let a draft hold; see `change_id` among the approvals."""
        sheet_publication.propose_sheet(
            self.viewer,
            number,
            now=timezone.now(),
            expected=self.expected_version(of=queries.find_sheet(self.viewer, number).pk),
            **self.given(SheetProposalIn),
        )
        return answered(self, number)


class SheetPreviewView(ConsoleView):
    @operation("gpu_sheets_preview", gives=SheetPreviewOut)
    def get(self, request: Request, number: int) -> Response:
        """Last month's GPU time at the prices that held, and at these."""
        now = timezone.now()
        sheet = queries.get_sheet(self.viewer, number, now=now)
        return self.answer(SheetPreviewOut(preview_sheet(self.viewer, sheet, now=now)).data)


class SheetDifferencesView(ConsoleView):
    @operation("gpu_sheets_diff", gives=LineChangesOut)
    def get(self, request: Request, number: int, other: int) -> Response:
        """The lines of a sheet beside those of another one."""
        now = timezone.now()
        new = queries.get_sheet(self.viewer, number, now=now)
        old = queries.get_sheet(self.viewer, other, now=now)
        return self.answer(LineChangesOut({"lines": queries.line_changes(old, new)}).data)


def sheet_in(given: dict[str, Any]) -> dict[str, Any]:
    return given | {"lines": [line_in(line) for line in given["lines"]]}


def answered(view: ConsoleView, number: int, status: int = 200) -> Response:
    sheet = queries.find_sheet(view.viewer, number)
    return view.answer(GpuSheetOut(sheet).data, etag=sheet.etag, status=status)
