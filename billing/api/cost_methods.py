"""How cost is shared: methods, weights of tokens, and what each release cost."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions.cost_methods import choose_method
from billing.api.filters import RangeFilters, read_range
from billing.queries.cost_methods import list_choices, list_weights
from billing.queries.release_margins import release_margins
from billing.rules.allocation import METHODS
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView, Pages

AMOUNT = (38, 12)


class ChoicePages(Pages):
    ordering = ("-starts_at", "-id")


class WeightPages(Pages):
    ordering = ("-starts_at", "-id")


class CostMethodOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    method = serializers.CharField()
    starts_at = serializers.DateTimeField(help_text="The first hour that it counts for")
    why = serializers.CharField()
    chosen_at = serializers.DateTimeField()
    chosen_by = serializers.CharField()


class CostMethodIn(Strict):
    method = TextField(max_length=32, help_text=f"One of {', '.join(METHODS)}")
    starts_at = serializers.DateTimeField(help_text="A full hour that lies ahead")
    why = TextField(max_length=2000)


class WorkWeightOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    release = serializers.CharField()
    number = serializers.IntegerField(help_text="Version of the release's weights")
    starts_at = serializers.DateTimeField()
    prefill_ns = serializers.IntegerField(help_text="A prompt token that was not cached")
    decode_ns = serializers.IntegerField(help_text="A completion token")
    fit = serializers.DecimalField(7, 4, help_text="1: tokens explain all that varies")
    samples = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    samples_sha = serializers.CharField()
    usable = serializers.BooleanField(help_text="False: engine time counts in their place")
    why = serializers.CharField(allow_blank=True)
    made_at = serializers.DateTimeField()


class ReleaseMarginOut(serializers.Serializer[Any]):
    model = serializers.CharField(allow_blank=True)
    release = serializers.CharField(allow_blank=True, help_text="Empty: not known")
    charged = serializers.DecimalField(*AMOUNT)
    gpu_ms = serializers.IntegerField(help_text="As the method shares it")
    cost = serializers.DecimalField(*AMOUNT, help_text="GPU time that its requests took")
    other = serializers.DecimalField(*AMOUNT, help_text="Of the platform and hosted bills")
    margin = serializers.DecimalField(*AMOUNT)
    saved = serializers.DecimalField(*AMOUNT, help_text="By cached tokens; in no sum")


class ReleaseMarginsOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField(source="known.start")
    end = serializers.DateTimeField(source="known.end")
    currency = serializers.CharField(source="known.currency", allow_blank=True)
    method = serializers.CharField(source="known.method", allow_blank=True)
    rows = ReleaseMarginOut(many=True)


class CostMethodsView(ConsoleView):
    pagination_class = ChoicePages

    @operation("cost_methods_list", gives=CostMethodOut(many=True))
    def get(self, request: Request) -> Response:
        """Which method of sharing cost counts from when, the latest start first."""
        return self.page(list_choices(self.viewer), CostMethodOut)

    @operation("cost_methods_choose", takes=CostMethodIn, gives=CostMethodOut, status=201)
    def post(self, request: Request) -> Response:
        """Choose the method of coming hours; hours that began keep theirs."""
        given = self.given(CostMethodIn)
        made = choose_method(self.viewer, **given, now=timezone.now())
        return self.answer(CostMethodOut(made).data, status=201)


class WorkWeightsView(ConsoleView):
    pagination_class = WeightPages

    @operation("work_weights_list", gives=WorkWeightOut(many=True))
    def get(self, request: Request) -> Response:
        """What tokens of releases weigh, the newest first."""
        return self.page(list_weights(self.viewer), WorkWeightOut)


class ReleaseMarginsView(ConsoleView):
    @operation("release_margins_get", gives=ReleaseMarginsOut, filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """Charged and caused by release, for the whole UTC days that the range touches."""
        start, end = read_range(self.filters(RangeFilters))
        return self.answer(ReleaseMarginsOut(release_margins(self.viewer, start, end)).data)
