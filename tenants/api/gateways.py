"""The door for gateways that lost Redis: the newest routing, as PostgreSQL has it."""

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.contract.routing import WORKER_HEADER
from tenants.actions.snapshots import note_reader
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.base.rows import database_now
from tenants.queries.snapshots import routing_above

# No parameter: a console that is older than its gateways refuses those that it does not know.
WORKER = OpenApiParameter(
    WORKER_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The gateway's worker, which applies what it has: rollouts wait for it",
)


class AboveFilter(serializers.Serializer[Any]):
    above = serializers.IntegerField(
        required=False,
        default=0,
        min_value=0,
        max_value=2**62,
        help_text="The version that the gateway has",
    )


class RoutingOut(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="The newest one; 0: none was made yet")
    document = serializers.DictField(
        allow_null=True, help_text="As published in Redis; null: it is not above what is had"
    )


class RoutingView(ConsoleView):
    @operation("gateway_routing", gives=RoutingOut, filters=AboveFilter, header=WORKER)
    def get(self, request: Request) -> Response:
        """For the token of a usage source: where engines are, while Redis does not say it."""
        above = self.filters(AboveFilter)["above"]
        newest = routing_above(self.viewer, above)
        if worker := request.headers.get(WORKER_HEADER):
            note_reader(worker, above, database_now())
        raw = newest.document
        found = {
            "version": newest.version,
            "document": msgspec.json.decode(raw) if raw else None,
        }
        return self.answer(RoutingOut(found).data)
