"""What a rollout did to requests."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.queries.rollout_harm import harm_of
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class EndsOut(serializers.Serializer[Any]):
    requests = serializers.IntegerField(help_text="Broken ones: failed or timed out")
    aborted = serializers.IntegerField(help_text="The engine gave them up")
    hung = serializers.IntegerField(help_text="It sent nothing more")
    failed = serializers.IntegerField(help_text="5xx, or the connection broke")
    cut = serializers.IntegerField(help_text="Of all of these: broken after the first token")


class HarmRowOut(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    release = serializers.CharField()
    fingerprint = serializers.CharField()
    ends = EndsOut()


class DrainOut(serializers.Serializer[Any]):
    release = serializers.CharField()
    since = serializers.DateTimeField(help_text="Its weight went to 0")
    open_requests = serializers.IntegerField(
        allow_null=True, help_text="In flight when its replicas went; null: not yet, or not known"
    )
    served = serializers.IntegerField(help_text="Ended whole after that")
    ends = EndsOut()
    lag_seconds = serializers.FloatField(
        help_text="From weight 0 to the last request that was still sent to it"
    )
    drain_seconds = serializers.FloatField(help_text="From weight 0 to the end of the last answer")


class HarmOut(serializers.Serializer[Any]):
    rollout_id = serializers.IntegerField()
    requests = serializers.IntegerField()
    cut = serializers.IntegerField()
    tenants = HarmRowOut(many=True, help_text="By tenant and release, most first")
    drains = DrainOut(many=True, help_text="Of the releases that traffic left")


class HarmView(ConsoleView):
    @operation("rollouts_harm", gives=HarmOut)
    def get(self, request: Request, rollout_id: int) -> Response:
        """Requests that broke on the new release or on one that traffic left, and its drain."""
        return self.answer(HarmOut(harm_of(self.viewer, rollout_id)).data)
