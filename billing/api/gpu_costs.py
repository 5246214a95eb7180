"""What GPUs did and cost: by product, node and state, idle ones, and those of rollouts."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range
from billing.queries.drill_costs import drill_costs
from billing.queries.economics import product_times
from billing.queries.idle_costs import idle_costs
from billing.queries.node_prices import seen_nodes
from billing.queries.rollout_costs import rollout_costs
from fleet.queries.gpu_intervals import list_gpu_intervals
from tenants.api.base.pages import ListPages, Pages
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.rules.access import Permission

AMOUNT, PRICE = (38, 12), (24, 12)


class RolloutCostOut(serializers.Serializer[Any]):
    rollout_id = serializers.IntegerField()
    service = serializers.CharField()
    cluster = serializers.CharField()
    phase = serializers.CharField()
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    currency = serializers.CharField(allow_blank=True, help_text="Empty: no price is known")
    gpu_ms = serializers.IntegerField(help_text="On top of what served before, in the range")
    unpriced_ms = serializers.IntegerField(help_text="Part of it whose cost is not known")
    cost = serializers.DecimalField(*AMOUNT)


class DrillCostOut(serializers.Serializer[Any]):
    drill_id = serializers.IntegerField()
    cost_of = RolloutCostOut(
        help_text="Its rollout, taken back on purpose; `rollout_id` 0: a replica that was killed"
    )


class IdleCostOut(serializers.Serializer[Any]):
    model = serializers.CharField(allow_blank=True, help_text="That held them; empty: nobody")
    product = serializers.CharField()
    state = serializers.CharField()
    gpu_ms = serializers.IntegerField()
    amount = serializers.DecimalField(*AMOUNT)


class IdleCostsOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    currency = serializers.CharField(allow_blank=True)
    method = serializers.CharField(allow_blank=True)
    rows = IdleCostOut(many=True, help_text="The dearest first")


class SeenNodesOut(serializers.Serializer[Any]):
    cluster = serializers.CharField()
    node_pool = serializers.CharField(allow_blank=True)
    capacity = serializers.CharField(allow_blank=True)
    product = serializers.CharField()
    profile = serializers.CharField(allow_blank=True, help_text="Of a part; empty: a whole GPU")
    gpu_ms = serializers.IntegerField(help_text="Of the last day")
    hourly = serializers.DecimalField(*PRICE, allow_null=True, help_text="Null: has no price")


class ProductTimeOut(serializers.Serializer[Any]):
    product = serializers.CharField()
    state = serializers.CharField()
    gpu_ms = serializers.IntegerField()
    hourly = serializers.DecimalField(*PRICE, allow_null=True, help_text="Null: has no price")
    cost = serializers.DecimalField(*AMOUNT, allow_null=True)
    currency = serializers.CharField()


class IntervalFilters(RangeFilters):
    cluster = serializers.SlugField(required=False, max_length=63)
    node = serializers.CharField(required=False, max_length=253)
    service = serializers.CharField(required=False, max_length=128)


class IntervalOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    cluster = serializers.CharField(source="unit.cluster.slug")
    node = serializers.CharField(source="unit.node")
    profile = serializers.CharField(source="unit.profile", allow_blank=True)
    slot = serializers.IntegerField(source="unit.slot", help_text="Of the node's GPUs or parts")
    product = serializers.CharField()
    parts = serializers.IntegerField(help_text="Of `whole`: what it is of a GPU")
    whole = serializers.IntegerField()
    node_pool = serializers.CharField(allow_blank=True)
    capacity = serializers.CharField(allow_blank=True)
    state = serializers.CharField()
    service = serializers.CharField(
        source="service.name", default=None, allow_null=True, help_text="Null: held by none"
    )
    holder = serializers.CharField(allow_blank=True, help_text="Uid of a pod, or whose it is")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: goes on")


class RolloutPages(ListPages):
    is_descending = True

    def key(self, row: Any) -> str:
        return f"{row.rollout_id:020}"


class DrillPages(ListPages):
    is_descending = True

    def key(self, row: Any) -> str:
        return f"{row.drill_id:020}"


class NodePages(ListPages):
    def key(self, row: Any) -> str:
        parts = (row.cluster, row.node_pool, row.capacity, row.product, row.profile)
        return "\n".join(parts)


class TimePages(ListPages):
    def key(self, row: Any) -> str:
        return f"{row.product}\n{row.state}\n{row.hourly}\n{row.currency}"


class IntervalPages(Pages):
    ordering = ("-starts_at", "-id")


class RolloutCostsView(ConsoleView):
    pagination_class = RolloutPages

    @operation("rollout_costs_list", gives=RolloutCostOut(many=True), filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """What rollouts cost in the hours of the range, the newest first."""
        start, end = read_range(self.filters(RangeFilters))
        return self.page(rollout_costs(self.viewer, start, end), RolloutCostOut)


class DrillCostsView(ConsoleView):
    pagination_class = DrillPages

    @operation("drill_costs_list", gives=DrillCostOut(many=True), filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """What drills cost in the hours of the range, the newest first."""
        start, end = read_range(self.filters(RangeFilters))
        return self.page(drill_costs(self.viewer, start, end), DrillCostOut)


class IdleCostsView(ConsoleView):
    @operation("idle_costs_get", gives=IdleCostsOut, filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """What GPUs without work cost, in the whole UTC days that the range touches."""
        start, end = read_range(self.filters(RangeFilters))
        known, rows = idle_costs(self.viewer, start, end)
        found = {
            "start": known.start, "end": known.end, "currency": known.currency,
            "method": known.method, "rows": rows,
        }  # fmt: skip
        return self.answer(IdleCostsOut(found).data)


class SeenNodesView(ConsoleView):
    pagination_class = NodePages

    @operation("seen_nodes_list", gives=SeenNodesOut(many=True))
    def get(self, request: Request) -> Response:
        """Nodes whose GPU time was attributed in the last day, and what an hour of it cost."""
        return self.page(seen_nodes(self.viewer, now=timezone.now()), SeenNodesOut)


class GpuTimeView(ConsoleView):
    pagination_class = TimePages

    @operation("gpu_time_list", gives=ProductTimeOut(many=True), filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """Attributed time of each GPU product in each state, at each price of an hour."""
        self.viewer.require(Permission.VIEW_MONEY)
        start, end = read_range(self.filters(RangeFilters))
        times, _ = product_times(start, end)
        return self.page(times, ProductTimeOut)


class GpuIntervalsView(ConsoleView):
    pagination_class = IntervalPages

    @operation("gpu_intervals_list", gives=IntervalOut(many=True), filters=IntervalFilters)
    def get(self, request: Request) -> Response:
        """What each GPU, or part of one, did from when until when; the latest beginning first.

        Those that touch the range. Old ones are dropped once their cost is final.
        """
        given = self.filters(IntervalFilters)
        start, end = read_range(given)
        return self.page(list_gpu_intervals(self.viewer, start, end, **given), IntervalOut)
