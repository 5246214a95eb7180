"""Rollouts that wait for each other's GPUs."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.queries.queue import Waiter, list_queues
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class WaiterOut(serializers.Serializer[Any]):
    rollout_id = serializers.IntegerField()
    rollout = serializers.CharField(source="label", help_text="RO-12")
    service = serializers.CharField()
    release = serializers.CharField()
    gpus = serializers.IntegerField(help_text="On top of what the service holds")
    product = serializers.CharField(help_text="Empty: any")
    turn = serializers.CharField(help_text="holds, next, waits, later, undecided")
    waits_for = serializers.SerializerMethodField(help_text="Ids of the rollouts that come first")
    why = serializers.CharField()

    def get_waits_for(self, row: Waiter) -> list[int]:
        return [pk for pk, _ in row.waits_for]


class QueueOut(serializers.Serializer[Any]):
    cluster = serializers.CharField()
    rows = WaiterOut(many=True)


class QueuesView(ConsoleView):
    @operation("rollout_queues", gives=QueueOut(many=True))
    def get(self, request: Request) -> Response:
        """Of clusters in which a rollout waits for another one, in the order of their turns."""
        return self.answer(QueueOut(list_queues(self.viewer), many=True).data)
