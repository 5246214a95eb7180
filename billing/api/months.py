"""Months of all tenants, any days of one beside any others, and how complete the figures are."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range, tenant_id_of
from billing.queries.by_release import release_parts
from billing.queries.charged import ChargeFilter
from billing.queries.compared import Span, compare_parts, span_of
from billing.queries.completeness import completeness
from billing.queries.money import find_tenant
from billing.queries.tenant_months import tenant_months
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView

AMOUNT = (38, 12)
RELEASE = "release"
CUTS = ("model", "application_id", "meter", "traffic_class", RELEASE)


class TenantMonthOut(serializers.Serializer[Any]):
    tenant = serializers.SlugField(source="slug")
    name = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.DecimalField(*AMOUNT, help_text="Charged in this UTC month")
    before = serializers.DecimalField(*AMOUNT, help_text="In the same span of the month before")
    budget = serializers.DecimalField(24, 6, allow_null=True)
    demo = serializers.BooleanField()


class ComparisonFilters(serializers.Serializer[Any]):
    """Days of the tenant's zone, each of them included."""

    first = serializers.DateField()
    last = serializers.DateField()
    with_first = serializers.DateField()
    with_last = serializers.DateField()
    by = serializers.ChoiceField(CUTS, required=False, default="model")


class PairOut(serializers.Serializer[Any]):
    key = serializers.CharField(allow_blank=True, help_text="By release: the release")
    name = serializers.CharField(allow_blank=True, help_text="By release: its service")
    amount = serializers.DecimalField(*AMOUNT)
    with_amount = serializers.DecimalField(*AMOUNT, source="other")
    difference = serializers.DecimalField(*AMOUNT)
    change = serializers.DecimalField(
        38, 12, allow_null=True, help_text="Of what it is compared with; null: that is 0"
    )
    quantity = serializers.DecimalField(38, 6, allow_null=True, help_text="Null by release")
    with_quantity = serializers.DecimalField(38, 6, allow_null=True, source="other_quantity")


class BilledComparisonOut(serializers.Serializer[Any]):
    currency = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    with_start = serializers.DateTimeField()
    with_end = serializers.DateTimeField()
    rows = PairOut(many=True, help_text="The largest difference first; each column adds up")


class CompletenessFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)


class CompletenessOut(serializers.Serializer[Any]):
    is_complete = serializers.BooleanField(help_text="Nothing waits, all has a price")
    events = serializers.IntegerField(help_text="Stored, of the range")
    quarantined = serializers.DictField(
        child=serializers.IntegerField(), help_text="All that wait for a person, by reason"
    )
    hours_to_roll_up = serializers.IntegerField()
    hours_to_rate = serializers.IntegerField()
    oldest_to_rate = serializers.DateTimeField(allow_null=True)
    unpriced_rows = serializers.IntegerField()
    unpriced_models = serializers.ListField(child=serializers.CharField())
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()


class TenantPages(ListPages):
    def key(self, row: Any) -> str:
        return str(row.slug)


class TenantMonthsView(ConsoleView):
    pagination_class = TenantPages

    @operation("tenant_months_list", gives=TenantMonthOut(many=True))
    def get(self, request: Request) -> Response:
        """Every tenant of the viewer, by its name: this UTC month, and its budget."""
        return self.page(tenant_months(self.viewer, now=timezone.now()), TenantMonthOut)


class ComparisonView(ConsoleView):
    @operation("tenant_comparison_get", gives=BilledComparisonOut, filters=ComparisonFilters)
    def get(self, request: Request, slug: str) -> Response:
        """Charges of any days beside those of any others, part by part."""
        tenant = find_tenant(self.viewer, slug)
        given = self.filters(ComparisonFilters)
        one = span(given, tenant.time_zone, ("first", "last"))
        two = span(given, tenant.time_zone, ("with_first", "with_last"))
        wanted = ChargeFilter(one.start, one.end, tenant_id=tenant.id)
        other = ChargeFilter(two.start, two.end, tenant_id=tenant.id)
        rows: list[Any]
        if given["by"] == RELEASE:
            parts = release_parts(self.viewer, wanted, other)
            rows = [
                {"key": p.release, "name": p.model, "amount": p.amount, "other": p.before,
                 "difference": p.difference, "change": p.change, "quantity": None,
                 "other_quantity": None}
                for p in sorted(parts, key=lambda p: -abs(p.difference))
            ]  # fmt: skip
        else:
            rows = compare_parts(self.viewer, wanted, other, given["by"])
        found = {
            "currency": tenant.currency, "start": one.start, "end": one.end,
            "with_start": two.start, "with_end": two.end, "rows": rows,
        }  # fmt: skip
        return self.answer(BilledComparisonOut(found).data)


class CompletenessView(ConsoleView):
    @operation("completeness_get", gives=CompletenessOut, filters=CompletenessFilters)
    def get(self, request: Request) -> Response:
        """What still waits on each step from request to charge, of the range."""
        given = self.filters(CompletenessFilters)
        start, end = read_range(given)
        tenant = given.get("tenant")
        found = completeness(
            self.viewer, start, end, tenant_id=tenant_id_of(tenant) if tenant else None
        )
        return self.answer(CompletenessOut(found).data)


def span(given: dict[str, Any], time_zone: str, names: tuple[str, str]) -> Span:
    first, last = (given[name] for name in names)
    return span_of(first, last, time_zone, names)
