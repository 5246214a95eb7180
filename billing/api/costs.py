"""Cost: who caused the fleet's bill, hour by hour, and the whole in a range."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range, tenant_id_of
from billing.queries import economics
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
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
    other = serializers.DecimalField(*AMOUNT, help_text="Its part of other costs; of tenants")


class UtilisationOut(serializers.Serializer[Any]):
    product = serializers.CharField()
    used = serializers.DecimalField(*AMOUNT, help_text="Cost that tenants caused")
    whole = serializers.DecimalField(*AMOUNT, help_text="Cost of all GPUs of the product")
    share = serializers.DecimalField(*AMOUNT)


class OtherCostsOut(serializers.Serializer[Any]):
    platform = serializers.DecimalField(*AMOUNT)
    hosted = serializers.DecimalField(*AMOUNT)
    unallocated = serializers.DecimalField(*AMOUNT, help_text="Nobody had what they are shared by")


class EconomicsOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    currency = serializers.CharField(allow_blank=True)
    bill = serializers.DecimalField(*AMOUNT, help_text="attributed + idle + overhead, exactly")
    attributed = serializers.DecimalField(*AMOUNT)
    idle = serializers.DecimalField(*AMOUNT)
    overhead = serializers.DecimalField(*AMOUNT)
    left_over = serializers.DecimalField(*AMOUNT, help_text="Always zero")
    other = OtherCostsOut(help_text="What the fleet costs besides GPUs, in the same hours")
    whole = serializers.DecimalField(*AMOUNT, help_text="The bill of GPUs and the other costs")
    charged = serializers.DecimalField(*AMOUNT, help_text="In hours whose cost is known")
    charged_elsewhere = serializers.DecimalField(*AMOUNT)
    margin = serializers.DecimalField(*AMOUNT)
    hours_attributed = serializers.IntegerField()
    hours = serializers.IntegerField()
    method = serializers.CharField(allow_blank=True, help_text="How the bill was shared")
    utilisation = UtilisationOut(many=True)
    unpriced_products = serializers.ListField(child=serializers.CharField())
    tenants = MarginOut(many=True)
    models = MarginOut(many=True)


class UnitFilters(RangeFilters):
    by = serializers.ChoiceField((TENANT, SERVICE), required=False, default=TENANT)


class UnitCostOut(serializers.Serializer[Any]):
    name = serializers.CharField(allow_blank=True, help_text="Empty for the whole")
    requests = serializers.IntegerField(help_text="That are paid for")
    tokens = serializers.IntegerField(help_text="In and out, that are paid for")
    charged = serializers.DecimalField(*AMOUNT)
    cost = serializers.DecimalField(*AMOUNT, help_text="Caused directly")
    full = serializers.DecimalField(*AMOUNT, help_text="With its share of idle, overhead, other")
    other = serializers.DecimalField(*AMOUNT, help_text="Of the platform and hosted bills")
    per_request = serializers.DecimalField(*AMOUNT, allow_null=True)
    full_per_request = serializers.DecimalField(*AMOUNT, allow_null=True)
    per_million = serializers.DecimalField(*AMOUNT, allow_null=True, help_text="Tokens")
    full_per_million = serializers.DecimalField(*AMOUNT, allow_null=True)
    charged_per_million = serializers.DecimalField(*AMOUNT, allow_null=True)


class UnitCostsOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    currency = serializers.CharField(allow_blank=True)
    method = serializers.CharField(allow_blank=True)
    hours_attributed = serializers.IntegerField()
    whole = UnitCostOut()
    rows = UnitCostOut(many=True)


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


class UnitCostsView(ConsoleView):
    @operation("unit_costs_get", gives=UnitCostsOut, filters=UnitFilters)
    def get(self, request: Request) -> Response:
        """What a request and a million tokens cost, for the whole UTC days of the range."""
        given = self.filters(UnitFilters)
        start, end = read_range(given)
        found = unit_costs(self.viewer, start, end, by=given["by"])
        return self.answer(UnitCostsOut(found).data)
