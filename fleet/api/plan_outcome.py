"""The plan of a rollout against what happened."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.plan_answers import TouchedOut
from fleet.queries.rollout_outcome import outcome_of
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class ComparedOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    unit = serializers.CharField()
    planned = serializers.FloatField(allow_null=True, help_text="Null: it was not known then")
    actual = serializers.FloatField(allow_null=True, help_text="Null: it has not come to that")
    verdict = serializers.CharField(help_text="kept, missed, open, unknown")
    text = serializers.CharField()


class PlanOutcomeOut(serializers.Serializer[Any]):
    rollout_id = serializers.IntegerField()
    plan = serializers.DictField(help_text="As it was approved")
    numbers = serializers.DictField()
    starts = serializers.DictField(help_text="Cold starts that it was computed from")
    touched = TouchedOut(many=True)
    compared = ComparedOut(many=True)


class PlanOutcomeView(ConsoleView):
    @operation("rollouts_plan", gives=PlanOutcomeOut)
    def get(self, request: Request, rollout_id: int) -> Response:
        """What was promised at the proposal, figure by figure beside what happened."""
        return self.answer(PlanOutcomeOut(outcome_of(self.viewer, rollout_id)).data)
