"""Drills of the way back and of lost pods: plan, list, read the report."""

from typing import Any, TypeVar

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import drills as actions
from fleet.actions.pod_losses import propose_pod_loss
from fleet.api.rollouts import StepIn, with_steps
from fleet.queries import drills as queries
from fleet.rules.drill import DrillVerdict, Limits, Moment
from fleet.rules.phases import PlanKind
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid

Named = TypeVar("Named", Moment, PlanKind)
STATES = ("open", *(v.value for v in DrillVerdict))


class LimitsField(Strict):
    traffic_back_seconds = serializers.FloatField(
        min_value=0.1, max_value=86_400, help_text="From the abort until all traffic is back"
    )
    full_back_seconds = serializers.FloatField(
        min_value=0.1, max_value=86_400, help_text="From the abort until everything is back"
    )
    requests_lost = CountField(min_value=0, max_value=1_000_000)


class DrillIn(Strict):
    service_id = CountField(min_value=1)
    release_id = CountField(min_value=1, help_text="That is rolled out and taken back")
    moment = TextField(max_length=12, help_text=", ".join(Moment))
    step = CountField(required=False, min_value=1, help_text="Of the moment `step`, from 1")
    limits = LimitsField(required=False)
    kind = TextField(required=False, max_length=16, help_text=", ".join(PlanKind))
    replicas = CountField(required=False, min_value=1, max_value=1000)
    steps = StepIn(many=True, required=False)
    soak_seconds = CountField(required=False, min_value=0, max_value=604_800)
    reason = TextField(required=False, allow_blank=True, max_length=2000)
    consent = serializers.BooleanField(required=False, default=False)


class PodLossIn(Strict):
    service_id = CountField(min_value=1)
    limits = LimitsField(
        required=False,
        help_text="From the kill: until gateways are told of the pod no more, until another serves",
    )
    reason = TextField(required=False, allow_blank=True, max_length=2000)
    consent = serializers.BooleanField(
        required=False, default=False, help_text="To the only replica of a service as well"
    )


class DrillOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes fields off the class
    service = serializers.CharField()
    rollout_id = serializers.IntegerField(
        allow_null=True, help_text="That is approved, moved and aborted; null: of a lost pod"
    )
    change_id = serializers.IntegerField(
        allow_null=True, help_text="Of a lost pod: what somebody else decides"
    )
    pod = serializers.CharField(help_text="That was chosen and killed; empty: none so far")
    phase = serializers.CharField(help_text="Of the rollout, or of the loss")
    from_label = serializers.CharField()
    to_label = serializers.CharField()
    plan_kind = serializers.CharField()
    moment = serializers.CharField()
    step = serializers.IntegerField()
    limits = serializers.DictField()
    promise = serializers.DictField(help_text="What the plan said before the approval, seconds")
    reason = serializers.CharField()
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    state = serializers.CharField(help_text="waiting, running, reporting, passed, failed, not_run")
    why = serializers.CharField()
    reported_at = serializers.DateTimeField(allow_null=True)
    digest = serializers.CharField(help_text="SHA-256 of the report; empty: there is none yet")


class DrillDetailOut(DrillOut):
    report = serializers.DictField(allow_null=True, help_text="As kept; it never changes")


class DrillAgeOut(serializers.Serializer[Any]):
    service = serializers.CharField()
    last = serializers.DateTimeField(allow_null=True, help_text="Of a drill that passed")
    is_stale = serializers.BooleanField(help_text="None yet, or longer ago than is allowed")


class DrillFilter(serializers.Serializer[Any]):
    service = serializers.CharField(required=False, max_length=63)
    state = serializers.ChoiceField(choices=STATES, required=False)


class DrillsView(ConsoleView):
    @operation("drills_list", gives=DrillOut(many=True), filters=DrillFilter)
    def get(self, request: Request) -> Response:
        """The newest 100."""
        found = queries.search_drills(self.viewer, **self.filters(DrillFilter))[:100]
        return self.answer(DrillOut(queries.rows_of(found), many=True).data)

    @operation("drills_propose", takes=DrillIn, gives=DrillDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Freeze a drill and its rollout, and ask somebody else to approve that rollout."""
        given = with_steps(self.given(DrillIn))
        limits, kind = given.pop("limits", None), given.pop("kind", None)
        drill = actions.propose_drill(
            self.viewer,
            given.pop("service_id"),
            given.pop("release_id"),
            moment=named(Moment, "moment", given.pop("moment")),
            limits=Limits(**limits) if limits else None,
            kind=named(PlanKind, "kind", kind) if kind else None,
            **given,
        )
        found = queries.get_drill(self.viewer, drill.pk)
        return self.answer(DrillDetailOut(found).data, status=201)


class PodLossesView(ConsoleView):
    @operation("drills_lose_pod", takes=PodLossIn, gives=DrillDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Freeze a drill of a lost pod, and ask somebody else to approve that one is killed."""
        given = self.given(PodLossIn)
        limits = given.pop("limits", None)
        drill = propose_pod_loss(
            self.viewer,
            given.pop("service_id"),
            limits=Limits(**limits) if limits else None,
            **given,
        )
        found = queries.get_drill(self.viewer, drill.pk)
        return self.answer(DrillDetailOut(found).data, status=201)


class DrillView(ConsoleView):
    @operation("drills_get", gives=DrillDetailOut)
    def get(self, request: Request, drill_id: int) -> Response:
        return self.answer(DrillDetailOut(queries.get_drill(self.viewer, drill_id)).data)


class DrillAgesView(ConsoleView):
    @operation("drills_ages", gives=DrillAgeOut(many=True))
    def get(self, request: Request) -> Response:
        """When each service's way back was last proved, the longest ago first."""
        rows = queries.drill_ages(self.viewer, timezone.now())
        return self.answer(DrillAgeOut(rows, many=True).data)


def named(names: type[Named], field: str, given: str) -> Named:
    try:
        return names(given)
    except ValueError as error:
        sentence = f"There is no {field} {given!r}; there are {', '.join(names)}"
        raise Invalid(**{field: sentence}) from error
