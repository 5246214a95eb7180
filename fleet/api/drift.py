"""Drift: what runs otherwise than declared, and what to do about it."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import adoption
from fleet.actions import drift as actions
from fleet.api.releases import ReleaseDetailOut
from fleet.queries import drift as queries
from fleet.queries.releases import get_release
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class DriftOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    deployment_id = serializers.IntegerField()
    deployment = serializers.CharField()
    service = serializers.CharField()
    cluster = serializers.CharField()
    path = serializers.CharField(help_text="spec.template.spec.containers[vllm].args")
    declared = serializers.JSONField(help_text="null: not declared")
    live = serializers.JSONField(help_text="null: not there")
    lines = serializers.ListField(
        child=serializers.CharField(),
        help_text="Of lists and texts of several lines, what went (-) and what came (+)",
    )
    manager = serializers.CharField(help_text="Field manager that wrote it; empty: not told")
    operation = serializers.CharField(help_text="Apply or Update")
    written_at = serializers.DateTimeField(allow_null=True)
    owned = serializers.BooleanField(help_text="An autoscaler's own number of replicas")
    found_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    wish = serializers.CharField(help_text="repair or adopt, once somebody chose")
    wish_by = serializers.CharField()
    wish_why = serializers.CharField()
    trouble = serializers.CharField(help_text="Why the wish could not be done yet")
    edit = serializers.CharField(help_text="Names all that differs at this Deployment now")
    adopted_as = serializers.CharField(help_text="r7, the release made of it; empty: none")
    adopted_id = serializers.IntegerField(allow_null=True)


class DriftFilter(serializers.Serializer[Any]):
    service_id = serializers.IntegerField(required=False, min_value=1)
    cluster = serializers.CharField(required=False)


class RepairIn(Strict):
    why = TextField(max_length=2000)


class AdoptIn(RepairIn):
    replicas = CountField(help_text="As it runs now: refused when it changed meanwhile")


class AdoptContentIn(RepairIn):
    edit = TextField(max_length=16, help_text="As it was listed: refused when it changed")


class DriftsView(ConsoleView):
    @operation("drift_list", gives=DriftOut(many=True), filters=DriftFilter)
    def get(self, request: Request) -> Response:
        """What is open now."""
        return listed(self, **self.filters(DriftFilter))


class RepairView(ConsoleView):
    @operation("drift_repair", takes=RepairIn, gives=DriftOut(many=True))
    def post(self, request: Request, deployment_id: int) -> Response:
        """The declared state again, whoever changed it."""
        row = actions.repair(self.viewer, deployment_id, **self.given(RepairIn))
        return listed(self, service_id=row.service_id)


class AdoptView(ConsoleView):
    @operation("drift_adopt", takes=AdoptIn, gives=DriftOut(many=True))
    def post(self, request: Request, deployment_id: int) -> Response:
        """Declare the number of replicas that runs. Other content is adopted as a release."""
        row = actions.adopt(self.viewer, deployment_id, **self.given(AdoptIn))
        return listed(self, service_id=row.service_id)


class AdoptContentView(ConsoleView):
    @operation("drift_adopt_content", takes=AdoptContentIn, gives=ReleaseDetailOut, status=201)
    def post(self, request: Request, deployment_id: int) -> Response:
        """Make a release of what somebody wrote into the Deployment. Roll it out as any other."""
        given = self.given(AdoptContentIn)
        release = adoption.adopt_content(self.viewer, deployment_id, **given)
        found = get_release(self.viewer, release.pk)
        return self.answer(ReleaseDetailOut(found).data, status=201)


def listed(view: ConsoleView, **wanted: Any) -> Response:
    return view.answer(DriftOut(queries.list_drift(view.viewer, **wanted), many=True).data)
