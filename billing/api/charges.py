"""Charges, a tenant's summary, rating, and what has no price."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import ChargeFilters, charge_filter
from billing.queries import money
from billing.queries.by_release import release_parts
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView, Pages

AMOUNT = (38, 12)
RUNS_ON = (
    "A GPU product of GPU time, else the hosted provider that answered; empty: none, or unknown"
)
SHARE = (30, 12)
CUTS = {
    "by_model": "model",
    "by_application": "application_id",
    "by_meter": "meter",
    "by_class": "traffic_class",
}


class HourPages(Pages):
    ordering = ("-hour", "-id")


class ChargeOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    hour = serializers.DateTimeField()
    tenant_id = serializers.IntegerField()
    application_id = serializers.IntegerField()
    model = serializers.CharField()
    traffic_class = serializers.CharField()
    meter = serializers.CharField()
    runs_on = serializers.CharField(help_text=RUNS_ON)
    quantity = serializers.DecimalField(38, 6, help_text="Negative in a reversal")
    unit_price = serializers.DecimalField(24, 12)
    amount = serializers.DecimalField(*AMOUNT, help_text="quantity x unit_price, exact")
    currency = serializers.CharField()
    run_id = serializers.IntegerField()
    price_book = serializers.CharField(source="book_version.book.slug")
    price_version = serializers.IntegerField(source="book_version.number")


class UnpricedOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    hour = serializers.DateTimeField()
    tenant_id = serializers.IntegerField()
    application_id = serializers.IntegerField()
    model = serializers.CharField()
    traffic_class = serializers.CharField()
    meter = serializers.CharField()
    runs_on = serializers.CharField(help_text=RUNS_ON)
    quantity = serializers.DecimalField(38, 6)


class ChargePartOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.DecimalField(38, 6)
    amount = serializers.DecimalField(*AMOUNT)
    share = serializers.DecimalField(*SHARE, help_text="Of the whole, 0 to 1")
    before = serializers.DecimalField(*AMOUNT, help_text="In the same span of the month before")


class ReleasePartOut(serializers.Serializer[Any]):
    model = serializers.CharField(allow_blank=True)
    release = serializers.CharField(allow_blank=True, help_text="Empty: fees, or not known")
    amount = serializers.DecimalField(*AMOUNT)
    share = serializers.DecimalField(*SHARE)
    before = serializers.DecimalField(*AMOUNT)


class ForecastOut(serializers.Serializer[Any]):
    amount = serializers.DecimalField(38, 2)
    low = serializers.DecimalField(38, 2, help_text="Four of five outcomes lie between")
    high = serializers.DecimalField(38, 2)
    days = serializers.IntegerField(help_text="Whole days that it rests on")
    method = serializers.CharField(help_text="How it was made: docs/finance/billing.md")
    method_version = serializers.IntegerField(help_text="Another rule has another version")
    contract = serializers.DecimalField(
        38, 2, help_text="Fees and minima of the contract, part of the amount"
    )


class SummaryOut(serializers.Serializer[Any]):
    tenant = serializers.SlugField(source="tenant.slug")
    currency = serializers.CharField(source="tenant.currency")
    month = serializers.CharField(source="month.name")
    starts_at = serializers.DateTimeField(source="month.starts_at")
    ends_at = serializers.DateTimeField(source="month.ends_at")
    until = serializers.DateTimeField()
    charged = serializers.DecimalField(*AMOUNT, help_text="Sum of the charges of the month")
    waiting = serializers.DecimalField(*AMOUNT, help_text="What the next rating will add")
    total = serializers.DecimalField(*AMOUNT)
    month_before = serializers.DecimalField(*AMOUNT)
    month_before_same_span = serializers.DecimalField(*AMOUNT)
    unpriced_rows = serializers.IntegerField()
    budget = serializers.DecimalField(24, 6, allow_null=True)
    forecast = ForecastOut(allow_null=True)
    by_model = ChargePartOut(many=True)
    by_application = ChargePartOut(many=True)
    by_meter = ChargePartOut(many=True)
    by_class = ChargePartOut(many=True)
    by_release = ReleasePartOut(
        many=True, help_text="A charge has no release: its hour's answers share it, by tokens"
    )


class SummaryFilters(serializers.Serializer[Any]):
    month = serializers.RegexField(r"^\d{4}-\d\d$", required=False, help_text="2026-11")


class ChargesView(ConsoleView):
    pagination_class = HourPages

    @operation("charges_list", gives=ChargeOut(many=True), filters=ChargeFilters)
    def get(self, request: Request) -> Response:
        """Charges by the hour of usage, newest first. Their sum is what the range costs."""
        wanted = charge_filter(self.filters(ChargeFilters))
        return self.page(money.list_charges(self.viewer, wanted), ChargeOut)


class UnpricedView(ConsoleView):
    pagination_class = HourPages

    @operation("unpriced_usage_list", gives=UnpricedOut(many=True), filters=ChargeFilters)
    def get(self, request: Request) -> Response:
        """Billable usage that no price covers."""
        wanted = charge_filter(self.filters(ChargeFilters))
        return self.page(money.list_unpriced(self.viewer, wanted), UnpricedOut)


class SummaryView(ConsoleView):
    @operation("tenant_billing_get", gives=SummaryOut, filters=SummaryFilters)
    def get(self, request: Request, slug: str) -> Response:
        """A tenant's month to date, in its own time zone."""
        month = self.filters(SummaryFilters).get("month", "")
        found = money.tenant_month(self.viewer, slug, now=timezone.now(), name=month)
        before = found.same_span_before
        parts = {
            name: ChargePartOut(
                money.parts(self.viewer, found.wanted, by, compared=before), many=True
            ).data
            for name, by in CUTS.items()
        }
        releases = release_parts(self.viewer, found.wanted, before)
        parts["by_release"] = ReleasePartOut(releases, many=True).data
        fields = SummaryOut()
        own = {
            name: field.to_representation(value)
            for name, field in fields.fields.items()
            if name not in parts and (value := field.get_attribute(found)) is not None
        }
        return self.answer(dict.fromkeys(("budget", "forecast")) | own | parts)
