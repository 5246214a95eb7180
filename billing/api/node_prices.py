"""What an hour of a GPU costs us, by the nodes it is in: sheets and their lines."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import node_prices as actions
from billing.api.prices import PriceField
from billing.queries import node_prices as queries
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
