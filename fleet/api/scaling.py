"""Scaling of a service by its load: its bounds, and what was decided."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import scaling as actions
from fleet.queries import scaling as queries
from fleet.queries.services import get_service
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds, hours_from
from fleet.rules.sleep import Sleep
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid


class HoursIn(Strict):
    weekdays = serializers.ListField(child=CountField(), max_length=7, help_text="0 is Monday")
    from_time = TextField(max_length=5, help_text="08:00")
    to_time = TextField(max_length=5, help_text="20:00; 24:00 is midnight")
    min_replicas = CountField(required=False, allow_null=True)
    max_replicas = CountField(required=False, allow_null=True)


class HoursOut(serializers.Serializer[Any]):
    weekdays = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday")
    from_time = serializers.TimeField(format="%H:%M")
    to_time = serializers.TimeField(format="%H:%M", help_text="00:00 is the end of the day")
    min_replicas = serializers.IntegerField(source="least", allow_null=True)
    max_replicas = serializers.IntegerField(source="most", allow_null=True)
    words = serializers.CharField()


class BoundsOut(serializers.Serializer[Any]):
    min_replicas = serializers.IntegerField(source="least")
    max_replicas = serializers.IntegerField(source="most")
    because = serializers.CharField(help_text="The hours that hold now; empty: none")


class PolicyOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    min_replicas = serializers.IntegerField()
    max_replicas = serializers.IntegerField()
    target = serializers.IntegerField(help_text="Requests in flight of one replica")
    stable_seconds = serializers.IntegerField(help_text="The load must fit into less for so long")
    pause_seconds = serializers.IntegerField(help_text="Between two steps down")
    hours = HoursOut(many=True)
    zone = serializers.CharField()
    idle_seconds = serializers.IntegerField(help_text="Without a request, until it sleeps")
    wait_seconds = serializers.IntegerField(help_text="Longest wait of a request for it to wake")
    max_waiting = serializers.IntegerField(help_text="Requests that may wait for it to wake")
    now = BoundsOut(help_text="What holds now")
    state = serializers.CharField(help_text="awake, sleeping, waking")
    told = serializers.CharField(help_text="What happens next; empty: it is awake")
    warning = serializers.CharField(
        help_text="Where a request may wait less than a start takes; empty: nothing"
    )
    slept_at = serializers.DateTimeField(allow_null=True)
    woken_at = serializers.DateTimeField(allow_null=True)
    waiting = serializers.IntegerField(
        allow_null=True, help_text="Requests that wait for it to wake; null: not known"
    )
    start_seconds = serializers.FloatField(
        allow_null=True, help_text="What a start takes, p95; null: none was measured"
    )
    changed_at = serializers.DateTimeField()


class PolicyIn(Strict):
    min_replicas = CountField()
    max_replicas = CountField()
    target = CountField(help_text="Requests in flight of one replica")
    stable_seconds = CountField(required=False, default=300, max_value=86_400)
    pause_seconds = CountField(required=False, default=60, max_value=3_600)
    idle_seconds = CountField(
        required=False,
        default=900,
        max_value=604_800,
        help_text="With a minimum of 0: without a request for so long it sleeps",
    )
    wait_seconds = CountField(
        required=False,
        default=300,
        max_value=3_600,
        help_text="Longest wait of a request for it to wake",
    )
    max_waiting = CountField(
        required=False,
        default=64,
        max_value=10_000,
        help_text="Requests that may wait for it to wake, in all gateways",
    )
    hours = HoursIn(many=True, required=False)
    zone = TextField(
        required=False,
        default="UTC",
        max_length=64,
        help_text="IANA, of the hours; UTC if left out",
    )
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class DecisionOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    running = serializers.FloatField()
    waiting = serializers.FloatField(help_text="In engines")
    queued = serializers.FloatField(allow_null=True, help_text="In gateways; null: not known")
    demand = serializers.FloatField(allow_null=True, help_text="null: not all could be asked")
    forecast = serializers.FloatField(allow_null=True)
    target = serializers.IntegerField()
    serving = serializers.IntegerField()
    declared = serializers.IntegerField(help_text="Replicas before")
    wanted = serializers.IntegerField()
    given = serializers.IntegerField(help_text="Replicas from then on")
    changed = serializers.BooleanField()
    why = serializers.CharField()


class DecisionsFilter(serializers.Serializer[Any]):
    only_changed = serializers.BooleanField(required=False, default=False)


class ScalingView(ConsoleView):
    @operation("scaling_get", gives=PolicyOut)
    def get(self, request: Request, service_id: int) -> Response:
        """Between which numbers of replicas the service is scaled. 404: people give the number."""
        return answered(self, service_id)

    @operation("scaling_set", takes=PolicyIn, gives=PolicyOut)
    def put(self, request: Request, service_id: int) -> Response:
        """Scale it between these bounds from now on. If-Match is needed where a policy is set."""
        given = self.given(PolicyIn)
        version = self.version_of(service_id) if "If-Match" in request.headers else None
        actions.set_policy(self.viewer, service_id, version, policy_of(given), why=given["why"])
        return answered(self, service_id)

    @operation("scaling_clear", status=204, if_match=True)
    def delete(self, request: Request, service_id: int) -> Response:
        """Leave the number to people again; it stays as it is now."""
        actions.clear_policy(self.viewer, service_id, self.version_of(service_id))
        return self.answer()

    def version_of(self, service_id: int) -> int:
        """A policy that was set anew is another one, which begins with version 1 again."""
        return self.expected_version(of=queries.policy_id(service_id) or "none")


class WakeIn(Strict):
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class WakeView(ConsoleView):
    @operation("scaling_wake", takes=WakeIn, gives=PolicyOut)
    def post(self, request: Request, service_id: int) -> Response:
        """Start a service that sleeps, without a request. 409: it does not sleep."""
        actions.wake(self.viewer, service_id, why=self.given(WakeIn)["why"])
        return answered(self, service_id)


class DecisionsView(ConsoleView):
    @operation("scaling_decisions", gives=DecisionOut(many=True), filters=DecisionsFilter)
    def get(self, request: Request, service_id: int) -> Response:
        """The last 100 looks at its load, the newest first."""
        get_service(self.viewer, service_id, timezone.now())
        wanted = self.filters(DecisionsFilter)
        rows = queries.list_decisions(self.viewer, service_id, **wanted)
        return self.answer(DecisionOut(rows, many=True).data)


def policy_of(given: dict[str, Any]) -> Policy:
    try:
        hours = hours_from(given.get("hours", ()))
    except ValueError as error:
        raise Invalid(hours=str(error)) from error
    return Policy(
        always=Bounds(given["min_replicas"], given["max_replicas"]),
        target=given["target"],
        stable=timedelta(seconds=given["stable_seconds"]),
        pause=timedelta(seconds=given["pause_seconds"]),
        hours=hours,
        zone=given["zone"],
        sleep=Sleep(
            idle=timedelta(seconds=given["idle_seconds"]),
            wait=timedelta(seconds=given["wait_seconds"]),
            most=given["max_waiting"],
        ),
    )


def answered(view: ConsoleView, service_id: int) -> Response:
    found = queries.get_policy(view.viewer, service_id, timezone.now())
    return view.answer(PolicyOut(found).data, etag=found.etag)
