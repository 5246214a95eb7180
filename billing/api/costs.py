"""Cost: who caused the fleet's bill, hour by hour, and the whole in a range."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range, tenant_id_of
from billing.queries import economics
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView, Pages

AMOUNT = (38, 12)
KINDS = ("tenant", "idle", "overhead")


class HourPages(Pages):
    ordering = ("-hour", "-id")


class AllocationFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)
    kind = serializers.ChoiceField(KINDS, required=False)


class AllocationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    hour = serializers.DateTimeField()
    kind = serializers.CharField(help_text="tenant, idle, overhead")
    tenant_id = serializers.IntegerField(allow_null=True)
    application_id = serializers.IntegerField(allow_null=True)
    model = serializers.CharField(allow_blank=True)
    cluster = serializers.CharField(source="pool.cluster")
    product = serializers.CharField(source="pool.product")
    state = serializers.CharField(source="pool.state")
    pool_id = serializers.IntegerField(help_text="Shares of one pool add up to its cost")
    weight = serializers.IntegerField(help_text="GPU-milliseconds that decided the share")
    amount = serializers.DecimalField(*AMOUNT)
    currency = serializers.CharField(source="pool.run.currency")
    method = serializers.CharField(source="pool.run.method")


class MarginOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    charged = serializers.DecimalField(*AMOUNT)
    cost = serializers.DecimalField(*AMOUNT)
    gross = serializers.DecimalField(*AMOUNT)


class EconomicsOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    currency = serializers.CharField(allow_blank=True)
    bill = serializers.DecimalField(*AMOUNT, help_text="attributed + idle + overhead, exactly")
    attributed = serializers.DecimalField(*AMOUNT)
    idle = serializers.DecimalField(*AMOUNT)
    overhead = serializers.DecimalField(*AMOUNT)
    left_over = serializers.DecimalField(*AMOUNT, help_text="Always zero")
    charged = serializers.DecimalField(*AMOUNT, help_text="In hours whose cost is known")
    charged_elsewhere = serializers.DecimalField(*AMOUNT)
    margin = serializers.DecimalField(*AMOUNT)
    hours_attributed = serializers.IntegerField()
    hours = serializers.IntegerField()
    unpriced_products = serializers.ListField(child=serializers.CharField())
    tenants = MarginOut(many=True)
    models = MarginOut(many=True)


class AllocationsView(ConsoleView):
    pagination_class = HourPages

    @operation("allocations_list", gives=AllocationOut(many=True), filters=AllocationFilters)
    def get(self, request: Request) -> Response:
        """Shares of the fleet's cost, newest hour first. A tenant's people see their own."""
        given = self.filters(AllocationFilters)
        start, end = read_range(given)
        tenant = given.get("tenant", "")
        rows = economics.list_allocations(
            self.viewer,
            start,
            end,
            tenant_id=tenant_id_of(tenant) if tenant else None,
            kind=given.get("kind", ""),
        )
        return self.page(rows, AllocationOut)


class EconomicsView(ConsoleView):
    @operation("economics_get", gives=EconomicsOut, filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """The fleet's bill and who caused it, for the whole UTC days that the range touches."""
        start, end = read_range(self.filters(RangeFilters))
        found = economics.economics(self.viewer, start, end, now=timezone.now())
        return self.answer(EconomicsOut(found).data)
