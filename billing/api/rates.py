"""Exchange rates: list them, record one, import a file."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import exchange as actions
from billing.api.accounts import AmountField
from billing.queries import exchange as queries
from billing.rules.exchange import COLUMNS, LARGEST_FILE, MOST_ROWS, Recorded
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class RateFilters(serializers.Serializer[Any]):
    base = serializers.CharField(required=False, max_length=3)
    quote = serializers.CharField(required=False, max_length=3)
    source = serializers.CharField(  # type: ignore[assignment]  # a rate's, not the field's
        required=False, max_length=64
    )


class RateIn(Strict):
    base = TextField(max_length=3, help_text="One unit of this currency")
    quote = TextField(max_length=3, help_text="is so many units of this one")
    date = serializers.DateField(help_text="The day that the source says it of")
    source = TextField(  # type: ignore[assignment]  # the same
        max_length=64, help_text="As the terms of accounts name it"
    )
    rate = AmountField()


class RateOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    base = serializers.CharField()
    quote = serializers.CharField()
    date = serializers.DateField(source="on")
    source = serializers.CharField()  # type: ignore[assignment]  # the same
    rate = serializers.DecimalField(24, 12)
    recorded_at = serializers.DateTimeField()
    recorded_by = serializers.CharField()


class ImportIn(Strict):
    csv = TextField(
        max_length=LARGEST_FILE,
        help_text=f"Columns {','.join(COLUMNS)}; at most {MOST_ROWS} rates, all or none",
    )


class ImportedOut(serializers.Serializer[Any]):
    new = serializers.IntegerField()
    corrected = serializers.IntegerField(help_text="New, in place of another rate of that day")
    known = serializers.IntegerField(help_text="Not written again")


class RatesView(ConsoleView):
    @operation("exchange_rates_list", gives=RateOut(many=True), filters=RateFilters)
    def get(self, request: Request) -> Response:
        """Newest day first; of one day and source, the one that holds first."""
        return self.page(queries.list_rates(self.viewer, **self.filters(RateFilters)), RateOut)

    @operation("exchange_rates_create", takes=RateIn, gives=ImportedOut, status=201)
    def post(self, request: Request) -> Response:
        """Never changed: another one for the same day and source takes its place."""
        given = self.given(RateIn)
        given["on"] = given.pop("date")
        done = actions.record_rate(self.viewer, Recorded(**given), now=timezone.now())
        return self.answer(ImportedOut(done).data, status=201)


class RatesImportView(ConsoleView):
    @operation("exchange_rates_import", takes=ImportIn, gives=ImportedOut, status=201)
    def post(self, request: Request) -> Response:
        """The same file may be sent twice: what is there already is not written again."""
        done = actions.import_rates(self.viewer, self.given(ImportIn)["csv"], now=timezone.now())
        return self.answer(ImportedOut(done).data, status=201)
