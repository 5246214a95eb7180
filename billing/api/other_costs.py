"""What the fleet costs besides GPUs: list the lines, import a file."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions.other_costs import import_other_costs
from billing.queries.other_costs import list_other_costs
from billing.rules.other_costs import COLUMNS, LARGEST_FILE, MOST_ROWS
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView, Pages


class LinePages(Pages):
    ordering = ("-starts_at", "-id")


class OtherCostOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    kind = serializers.CharField(help_text="platform, hosted")
    name = serializers.CharField()
    model = serializers.CharField(allow_blank=True, help_text="Whose tokens decide; empty: GPUs")
    currency = serializers.CharField()
    amount = serializers.DecimalField(38, 12)
    recorded_at = serializers.DateTimeField()
    recorded_by = serializers.CharField()


class OtherCostsIn(Strict):
    csv = TextField(
        max_length=LARGEST_FILE,
        help_text=f"Columns {','.join(COLUMNS)}, or a FOCUS file; at most {MOST_ROWS} lines,"
        " all or none",
    )


class OtherCostsImported(serializers.Serializer[Any]):
    new = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Not written again")


class OtherCostsView(ConsoleView):
    pagination_class = LinePages

    @operation("other_costs_list", gives=OtherCostOut(many=True))
    def get(self, request: Request) -> Response:
        """Newest first. A mistake is given back by a line of an amount below zero."""
        return self.page(list_other_costs(self.viewer), OtherCostOut)


class OtherCostsImportView(ConsoleView):
    @operation("other_costs_import", takes=OtherCostsIn, gives=OtherCostsImported, status=201)
    def post(self, request: Request) -> Response:
        """The same file may be sent twice: lines that are there already are not written again."""
        text = self.given(OtherCostsIn)["csv"]
        done = import_other_costs(self.viewer, text, now=timezone.now())
        return self.answer(OtherCostsImported(done).data, status=201)
