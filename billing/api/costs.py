"""Cost: who caused the fleet's bill, hour by hour, and the whole in a range."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range, tenant_id_of
from billing.queries import economics
from billing.queries.release_units import RELEASE, release_unit_costs
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView, Pages

AMOUNT = (38, 12)
KINDS = ("tenant", "idle", "overhead")


class HourPages(Pages):
    ordering = ("-hour", "-id")


class AllocationFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)
    release = serializers.CharField(required=False, max_length=32)
    kind = serializers.ChoiceField(KINDS, required=False)


class AllocationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    hour = serializers.DateTimeField()
    kind = serializers.CharField(help_text="tenant, idle, overhead")
    tenant_id = serializers.IntegerField(allow_null=True)
    application_id = serializers.IntegerField(allow_null=True)
    model = serializers.CharField(allow_blank=True)
    release = serializers.CharField(allow_blank=True, help_text="Empty: none, or not known")
    cluster = serializers.CharField(source="pool.cluster")
    node_pool = serializers.CharField(source="pool.node_pool", allow_blank=True)
    capacity = serializers.CharField(source="pool.capacity", allow_blank=True)
    profile = serializers.CharField(
        source="pool.profile", allow_blank=True, help_text="Of a part of a GPU; empty: a whole one"
    )
    product = serializers.CharField(source="pool.product")
    state = serializers.CharField(source="pool.state")
    pool_id = serializers.IntegerField(help_text="Shares of one pool add up to its cost")
    weight = serializers.IntegerField(help_text="GPU-milliseconds that decided the share")
    amount = serializers.DecimalField(*AMOUNT)
    saved = serializers.DecimalField(*AMOUNT, help_text="By cached tokens; in no sum")
    currency = serializers.CharField(source="pool.run.currency")
    method = serializers.CharField(source="pool.run.method")


class MarginOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    charged = serializers.DecimalField(*AMOUNT)
    cost = serializers.DecimalField(*AMOUNT, help_text="Caused directly")
    gross = serializers.DecimalField(*AMOUNT, help_text="Charged less cost")
    idle_share = serializers.DecimalField(*AMOUNT, help_text="Its part of idle, by direct cost")
    overhead_share = serializers.DecimalField(*AMOUNT, help_text="And of overhead")
    other = serializers.DecimalField(*AMOUNT, help_text="Its part of other costs; of tenants")
    net = serializers.DecimalField(*AMOUNT, help_text="Gross less the three parts")
    saved = serializers.DecimalField(*AMOUNT, help_text="By cached tokens; of tenants; in no sum")


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
    known_until = serializers.DateTimeField(
        allow_null=True, help_text="The newest hour was not over: its cost is known until then"
    )
    method = serializers.CharField(allow_blank=True, help_text="How the bill was shared")
    utilisation = UtilisationOut(many=True)
    unpriced_products = serializers.ListField(child=serializers.CharField())
    tenants = MarginOut(many=True)
    models = MarginOut(many=True)


class UnitFilters(RangeFilters):
    by = serializers.ChoiceField((TENANT, SERVICE, RELEASE), required=False, default=TENANT)


class UnitCostOut(serializers.Serializer[Any]):
    name = serializers.CharField(allow_blank=True, help_text="Empty for the whole")
    release = serializers.CharField(
        default="", allow_blank=True, help_text="By release: of the service `name`"
    )
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
            release=given.get("release", ""),
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
        if given["by"] == RELEASE:
            return self.answer(UnitCostsOut(release_unit_costs(self.viewer, start, end)).data)
        found = unit_costs(self.viewer, start, end, by=given["by"])
        return self.answer(UnitCostsOut(found).data)
