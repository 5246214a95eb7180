"""Placements of a service in several clusters, and sequences of rollouts through them."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import placements, sequences
from fleet.api.gate_limits import GateLimitsIn
from fleet.api.rollouts import StepIn, with_steps
from fleet.queries import sequences as queries
from fleet.queries.placements import list_placements
from fleet.rules.phases import PlanKind
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField, Why
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid


class PlacementOut(serializers.Serializer[Any]):
    service_id = serializers.IntegerField()
    service = serializers.CharField()
    cluster = serializers.CharField()
    region = serializers.CharField()
    release = serializers.CharField()
    replicas = serializers.IntegerField()
    serving = serializers.IntegerField()
    lost = serializers.CharField(help_text="Why its cluster cannot be seen; empty: it can")
    is_home = serializers.BooleanField(help_text="Its name is what clients call")


class PlacementsIn(Strict):
    members = serializers.ListField(
        child=TextField(max_length=63),
        max_length=20,
        help_text="Services of other clusters, in the order in which gateways prefer them",
    )
    why = TextField(required=False, allow_blank=True, max_length=2000)


class SequenceIn(Strict):
    release_id = CountField(min_value=1, help_text="Of the service at home")
    bake_seconds = CountField(
        min_value=0, help_text="How long a cluster serves it before the next begins"
    )
    order = serializers.ListField(
        required=False,
        child=TextField(max_length=63),
        max_length=21,
        help_text="Services, each once. Left out: the placements in their order, home at last",
    )
    kind = TextField(required=False, max_length=16, help_text=", ".join(PlanKind))
    steps = StepIn(many=True, required=False)
    soak_seconds = CountField(required=False, min_value=0, max_value=604_800)
    limits = GateLimitsIn(required=False, help_text="Of the gates in every cluster")
    begins_from = serializers.DictField(
        required=False,
        child=serializers.DateTimeField(),
        help_text="By service: its cluster begins no earlier, even when its turn has come",
    )
    reason = TextField(required=False, allow_blank=True, max_length=2000)


class LeaveOutIn(Strict):
    why = TextField(max_length=2000)


class StageOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    service = serializers.CharField()
    cluster = serializers.CharField()
    region = serializers.CharField()
    release = serializers.CharField()
    state = serializers.CharField(
        help_text="pending, moving, baking, done, failed, left_out, going_back, back"
    )
    shown = serializers.CharField(help_text="The state, or frozen where its cluster is lost")
    since = serializers.DateTimeField()
    bakes_until = serializers.DateTimeField(allow_null=True)
    begins_from = serializers.DateTimeField(
        allow_null=True, help_text="It begins no earlier, as it was approved. null: at its turn"
    )
    opens_at = serializers.DateTimeField(
        allow_null=True,
        help_text="The earliest moment by that time and the change calendar, of what has not begun",
    )
    opens_why = serializers.CharField(help_text="Of it, or what must end first; empty: nothing")
    why = serializers.CharField()
    rollout_id = serializers.IntegerField(allow_null=True)
    rollout_phase = serializers.CharField()
    back_id = serializers.IntegerField(allow_null=True, help_text="The rollout that takes it back")
    can_leave_out = serializers.BooleanField()


class SequenceOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes fields off the class
    service = serializers.CharField()
    release_id = serializers.IntegerField()
    release = serializers.CharField()
    phase = serializers.CharField()
    wish = serializers.CharField()
    why = serializers.CharField()
    is_open = serializers.BooleanField()
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    phase_since = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    stages = StageOut(many=True)


class SequenceApprovalOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    state = serializers.CharField()
    digest = serializers.CharField()
    requester = serializers.CharField()
    decider = serializers.CharField()


class SequenceEventOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    cluster = serializers.CharField(help_text="Empty: of the whole sequence")
    state = serializers.CharField()
    actor = serializers.CharField(help_text="Empty: the machine")
    why = serializers.CharField()


class SequenceDetailOut(serializers.Serializer[Any]):
    sequence = SequenceOut()
    reason = serializers.CharField()
    bake_seconds = serializers.IntegerField()
    wish_by = serializers.CharField()
    wish_why = serializers.CharField()
    approval = SequenceApprovalOut(allow_null=True)
    timeline = SequenceEventOut(many=True)


class SequenceFilter(serializers.Serializer[Any]):
    service_id = serializers.IntegerField(required=False, min_value=1)
    only_open = serializers.BooleanField(required=False, default=False)


class PlacementsView(ConsoleView):
    @operation("placements_list", gives=PlacementOut(many=True))
    def get(self, request: Request, service_id: int) -> Response:
        """Where a model name is answered, home first."""
        rows = list_placements(self.viewer, service_id, timezone.now())
        return self.answer(PlacementOut(rows, many=True).data)

    @operation("placements_set", takes=PlacementsIn, gives=PlacementOut(many=True))
    def put(self, request: Request, service_id: int) -> Response:
        """Let services of other clusters answer for this one's name. Empty: it is alone."""
        given = self.given(PlacementsIn)
        placements.set_placements(self.viewer, service_id, given.pop("members"), **given)
        return self.get(request, service_id)


class SequencesView(ConsoleView):
    @operation("sequences_list", gives=SequenceOut(many=True), filters=SequenceFilter)
    def get(self, request: Request) -> Response:
        """The newest 50."""
        rows = queries.list_sequences(self.viewer, **self.filters(SequenceFilter))
        return self.answer(SequenceOut(rows, many=True).data)

    @operation("sequences_propose", takes=SequenceIn, gives=SequenceDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Freeze a release for every cluster of its service, and ask for one approval of it."""
        given = with_steps(self.given(SequenceIn))
        kind = given.pop("kind", None)
        sequence = sequences.propose_sequence(
            self.viewer, given.pop("release_id"), kind=kind_named(kind), **given
        )
        return answered(self, sequence.pk, 201)


def kind_named(kind: str | None) -> PlanKind | None:
    try:
        return PlanKind(kind) if kind else None
    except ValueError as error:
        raise Invalid(kind=f"There is no plan {kind!r}; plans are {', '.join(PlanKind)}") from error


class SequenceView(ConsoleView):
    @operation("sequences_get", gives=SequenceDetailOut)
    def get(self, request: Request, sequence_id: int) -> Response:
        return answered(self, sequence_id)


def wish_view(name: str, action: Callable[..., Any]) -> type[ConsoleView]:
    """A door for one wish; the answer is the sequence as it is now, the wish in it."""

    class WishView(ConsoleView):
        @operation(f"sequences_{name}", takes=Why, gives=SequenceDetailOut)
        def post(self, request: Request, sequence_id: int) -> Response:
            sequence = action(self.viewer, sequence_id, **self.given(Why))
            return answered(self, sequence.pk)

    WishView.post.__doc__ = action.__doc__
    WishView.__name__ = f"Sequence{name.title().replace('_', '')}View"
    return WishView


PauseView = wish_view("pause", sequences.pause_sequence)
ResumeView = wish_view("resume", sequences.resume_sequence)
EndView = wish_view("end", sequences.end_sequence)
RollBackView = wish_view("roll_back", sequences.roll_back_sequence)


class LeaveOutView(ConsoleView):
    @operation("sequences_leave_out", takes=LeaveOutIn, gives=SequenceDetailOut)
    def post(self, request: Request, sequence_id: int, number: int) -> Response:
        """Go on without one cluster: it keeps what serves there."""
        sequences.leave_out(self.viewer, sequence_id, number, **self.given(LeaveOutIn))
        return answered(self, sequence_id)


def answered(view: ConsoleView, sequence_id: int, status: int = 200) -> Response:
    found = queries.get_sequence(view.viewer, sequence_id)
    return view.answer(SequenceDetailOut(found).data, status=status)
