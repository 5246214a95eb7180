"""Changed labels and taints of nodes, and their acceptance."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import node_drift as actions
from fleet.queries import node_drift as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class NodeDriftOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    cluster = serializers.CharField()
    node = serializers.CharField()
    kind = serializers.CharField(help_text="label or taint")
    name = serializers.CharField(help_text="A label's key; KEY:EFFECT of a taint")
    expected = serializers.CharField(allow_null=True, help_text="null: it was not there")
    live = serializers.CharField(allow_null=True, help_text="null: it is not there")
    manager = serializers.CharField(help_text="Field manager that wrote it; empty: not told")
    operation = serializers.CharField(help_text="Apply or Update")
    written_at = serializers.DateTimeField(allow_null=True)
    found_at = serializers.DateTimeField()
    meaning = serializers.CharField(help_text="What follows for placements")
    line_back = serializers.CharField(help_text="For kubectl: the console only reads nodes")


class NodeDriftFilter(serializers.Serializer[Any]):
    cluster = serializers.CharField(required=False)


class AcceptIn(Strict):
    live = serializers.CharField(
        allow_null=True, allow_blank=True, help_text="As it is now: refused when it changed again"
    )
    why = TextField(max_length=2000)


class NodeDriftsView(ConsoleView):
    @operation("node_drift_list", gives=NodeDriftOut(many=True), filters=NodeDriftFilter)
    def get(self, request: Request) -> Response:
        """What was changed and neither put back nor accepted."""
        return listed(self, **self.filters(NodeDriftFilter))


class AcceptView(ConsoleView):
    @operation("node_drift_accept", takes=AcceptIn, gives=NodeDriftOut(many=True))
    def post(self, request: Request, drift_id: int) -> Response:
        """Expect from now on what is there. The way back is `line_back`."""
        row = actions.accept(self.viewer, drift_id, **self.given(AcceptIn))
        return listed(self, cluster=row.cluster.slug)


def listed(view: ConsoleView, **wanted: Any) -> Response:
    rows = queries.list_node_drift(view.viewer, **wanted)
    return view.answer(NodeDriftOut(rows, many=True).data)
