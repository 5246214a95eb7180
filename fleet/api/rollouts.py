"""Rollouts: plan, propose, follow, steer."""

from collections.abc import Callable
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import calls
from fleet.actions import rollouts as actions
from fleet.actions.closing import close_rollout
from fleet.api.contracts import ContractResultOut
from fleet.api.gate_limits import GateLimitsIn
from fleet.api.plan_answers import PlansOut
from fleet.api.rollout_parts import (
    ClusterEventOut,
    KeptPodOut,
    LogEndOut,
    PrefetchOut,
    StepLineOut,
    SurgeCostOut,
)
from fleet.queries import plans
from fleet.queries import rollouts as queries
from fleet.queries.by_hand import way_back_by_hand
from fleet.rules.audience import Asked
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.phases import PlanKind
from fleet.rules.proposal import read_steps
from fleet.rules.situation import StepPlan
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField, Why
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid


class StepIn(Strict):
    percent = CountField()
    hold_seconds = CountField()
    min_samples = CountField()
    shadow = serializers.BooleanField(
        default=False,
        help_text="So many percent of the requests are copied to the new release, whose answers"
        " are compared and dropped. Shadows come before steps with traffic",
    )
    approval = serializers.BooleanField(
        default=False,
        help_text="When its gate has passed, somebody else than who proposed the rollout must"
        " approve what was judged, within a day; else it pauses",
    )


class PlanIn(Strict):
    service_id = CountField(min_value=1)
    release_id = CountField(min_value=1)
    replicas = CountField(required=False, min_value=1, max_value=1000)
    steps = StepIn(many=True, required=False)
    soak_seconds = CountField(required=False, min_value=0, max_value=604_800)
    begins_from = serializers.DateTimeField(
        required=False, help_text="It begins no earlier, however early it is approved"
    )
    begins_before = serializers.DateTimeField(
        required=False, help_text="It begins no later: after that the approval has expired"
    )


class AudienceIn(Strict):
    """Who takes part in the canary when. Empty lists: all alike."""

    first = serializers.ListField(
        child=TextField(max_length=127),
        default=list,
        max_length=50,
        help_text="Tenants (acme) and applications (acme/chat): shadows and the first step with"
        " traffic are theirs alone",
    )
    first_classes = serializers.ListField(
        child=TextField(max_length=12),
        default=list,
        max_length=3,
        help_text="Traffic classes (critical, interactive, batch): likewise",
    )
    last = serializers.ListField(
        child=TextField(max_length=63),
        default=list,
        max_length=50,
        help_text="Tenants that keep the old release until all gates passed",
    )


class RolloutIn(PlanIn):
    kind = serializers.ChoiceField(required=False, choices=[(k.value, k.value) for k in PlanKind])
    patience_seconds = CountField(required=False, min_value=1, max_value=86_400)
    reason = TextField(required=False, allow_blank=True, max_length=2000)
    consent = serializers.BooleanField(required=False, default=False)
    audience = AudienceIn(required=False)
    limits = GateLimitsIn(required=False)
    supersede = serializers.BooleanField(
        required=False,
        default=False,
        help_text="An open rollout of the service is aborted for this one, which begins when that"
        " one has ended",
    )


class SkipIn(Strict):
    step = CountField(min_value=0, help_text="Of the open gate, counted from 0")
    why = TextField(max_length=2000)


class RolloutOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes fields off the class
    service_id = serializers.IntegerField()
    service = serializers.CharField()
    cluster = serializers.CharField()
    from_id = serializers.IntegerField(allow_null=True)
    from_label = serializers.CharField()
    to_id = serializers.IntegerField()
    to_label = serializers.CharField()
    plan_kind = serializers.CharField()
    phase = serializers.CharField()
    step = serializers.IntegerField()
    percent = serializers.IntegerField(help_text="Of the traffic, wanted on the new release")
    shadow = serializers.IntegerField(
        help_text="Percent of the requests that the present step copies; 0: it is no shadow"
    )
    wish = serializers.CharField()
    why = serializers.CharField()
    cause = serializers.CharField()
    is_open = serializers.BooleanField()
    is_rollback = serializers.BooleanField()
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    phase_since = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class GateOut(serializers.Serializer[Any]):
    step = serializers.IntegerField()
    at = serializers.DateTimeField(allow_null=True)
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    verdict = serializers.CharField()
    why = serializers.CharField()
    checks = serializers.ListField(child=serializers.DictField())
    evidence = serializers.DictField(
        help_text="alpha of one test, tests, look, gates; few: groups with too few samples;"
        " shown: figures that are not judged; sources: the queries"
    )


class TimelineOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    phase = serializers.CharField()
    step = serializers.IntegerField()
    actor = serializers.CharField(help_text="Empty: the machine")
    why = serializers.CharField()
    detail = serializers.DictField()


class SideOut(serializers.Serializer[Any]):
    release_id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes fields off the class
    fingerprint = serializers.CharField()
    wanted = serializers.IntegerField()
    weight = serializers.IntegerField()
    serving = serializers.IntegerField()
    gpus = serializers.IntegerField()
    roles = serializers.CharField(help_text="Pods of a replica by role; empty: it is one pod")


class ApprovalOut(serializers.Serializer[Any]):
    change_id = serializers.IntegerField()
    state = serializers.CharField()
    digest = serializers.CharField()
    requester = serializers.CharField()
    decider = serializers.CharField()
    reason = serializers.CharField()


class RolloutDetailOut(serializers.Serializer[Any]):
    rollout = RolloutOut()
    reason = serializers.CharField()
    supersedes = serializers.IntegerField(
        allow_null=True, help_text="The rollout that was aborted for this one"
    )
    superseded_by = serializers.IntegerField(
        allow_null=True, help_text="The rollout that this one was aborted for"
    )
    wish_by = serializers.CharField()
    wish_why = serializers.CharField()
    manifest_digest = serializers.CharField()
    replicas = serializers.IntegerField()
    plan = serializers.DictField()
    numbers = serializers.DictField()
    audience = serializers.DictField(help_text="Who goes first and last, in words")
    limits = serializers.DictField(
        child=serializers.CharField(), help_text="Of its gates, in words; numbers has the figures"
    )
    back_because = serializers.CharField()
    share = serializers.FloatField(allow_null=True)
    approval = ApprovalOut(allow_null=True)
    step_approval = ApprovalOut(
        allow_null=True, help_text="Of the step that asked last, bound to what its gate judged"
    )
    steps = StepLineOut(
        many=True, source="table", help_text="With the first replicas, 100 % and the soak"
    )
    gates = GateOut(many=True)
    contract = ContractResultOut(allow_null=True)
    old = SideOut(allow_null=True)
    new = SideOut()
    timeline = TimelineOut(many=True)
    pods = KeptPodOut(many=True, help_text="Of both releases, those that are gone as well")
    prefetch = PrefetchOut(
        allow_null=True, help_text="Its image on nodes; null: not so far, or a way back"
    )
    cluster_events = ClusterEventOut(many=True, help_text="About these pods, newest first")
    logs = LogEndOut(many=True, help_text="Of containers that failed or never got ready")
    cost = SurgeCostOut(
        allow_null=True, help_text="Of the GPUs on top; null: no price, or no right to see money"
    )


class ByHandOut(serializers.Serializer[Any]):
    lines = serializers.ListField(child=serializers.CharField(), help_text="Comments and commands")


class RolloutFilter(serializers.Serializer[Any]):
    service_id = serializers.IntegerField(required=False, min_value=1)
    only_open = serializers.BooleanField(required=False, default=False)


class PlansView(ConsoleView):
    @operation("plans_compute", takes=PlanIn, gives=PlansOut)
    def post(self, request: Request) -> Response:
        """All ways to move a service to a release. Nothing is stored."""
        given = self.given(PlanIn)
        found = plans.plan_rollout(
            self.viewer, given.pop("service_id"), given.pop("release_id"), **with_begins(given)
        )
        prices = plans.prices_of(self.viewer, found)
        return self.answer(PlansOut(found, context={"prices": prices}).data)


class RolloutsView(ConsoleView):
    @operation("rollouts_list", gives=RolloutOut(many=True), filters=RolloutFilter)
    def get(self, request: Request) -> Response:
        """Newest first."""
        rows = queries.list_rollouts(self.viewer, **self.filters(RolloutFilter))
        return self.answer(RolloutOut(rows, many=True).data)

    @operation("rollouts_propose", takes=RolloutIn, gives=RolloutDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Freeze a plan and ask somebody else for an approval of exactly that."""
        given = with_begins(self.given(RolloutIn))
        kind = given.pop("kind", None)
        audience = given.pop("audience", None)
        rollout = actions.propose_rollout(
            self.viewer,
            given.pop("service_id"),
            given.pop("release_id"),
            kind=PlanKind(kind) if kind else None,
            audience=Asked(**audience) if audience else None,
            **given,
        )
        return answered(self, rollout.pk, 201)


class RolloutView(ConsoleView):
    @operation("rollouts_get", gives=RolloutDetailOut)
    def get(self, request: Request, rollout_id: int) -> Response:
        return answered(self, rollout_id)


class ByHandView(ConsoleView):
    @operation("rollouts_by_hand", gives=ByHandOut)
    def get(self, request: Request, rollout_id: int) -> Response:
        """The way back as lines for kubectl, to be kept for the day when nothing else works."""
        lines = way_back_by_hand(self.viewer, rollout_id)
        return self.answer(ByHandOut({"lines": lines}).data)


def wish_view(name: str, action: Callable[..., Any], says: str) -> type[ConsoleView]:
    """A door for one wish; the answer is the rollout as it is now, the wish in it."""

    class WishView(ConsoleView):
        @operation(f"rollouts_{name}", takes=Why, gives=RolloutDetailOut)
        def post(self, request: Request, rollout_id: int) -> Response:
            rollout = action(self.viewer, rollout_id, **self.given(Why))
            return answered(self, rollout.pk)

    WishView.post.__doc__ = says
    WishView.__name__ = f"{name.title().replace('_', '')}View"
    return WishView


PauseView = wish_view("pause", actions.pause_rollout, "Hold everything as it is.")
ResumeView = wish_view("resume", actions.resume_rollout, "Go on.")
AbortView = wish_view("abort", actions.abort_rollout, "Go back, from every open phase.")
RollBackView = wish_view(
    "roll_back", actions.roll_back, "Abort an open rollout, or undo a finished one by a new one."
)

AcknowledgeView = wish_view(
    "acknowledge", calls.acknowledge, "Be on it: nobody is called again about what it waits for."
)

CloseView = wish_view(
    "close", close_rollout, "Say what comes of one that was rolled back; it asks for nobody then."
)


class SkipGateView(ConsoleView):
    @operation("rollouts_skip_gate", takes=SkipIn, gives=RolloutDetailOut)
    def post(self, request: Request, rollout_id: int) -> Response:
        """Answer oneself for the gate of a step."""
        actions.skip_gate(self.viewer, rollout_id, **self.given(SkipIn))
        return answered(self, rollout_id)


def with_begins(given: dict[str, Any]) -> dict[str, Any]:
    """Steps and the time of the start, as actions take them."""
    opens, closes = given.pop("begins_from", None), given.pop("begins_before", None)
    if opens or closes:
        given |= {"begins": BeginsWithin(opens, closes)}
    return with_steps(given)


def with_steps(given: dict[str, Any]) -> dict[str, Any]:
    if "steps" not in given:
        return given
    try:
        steps: tuple[StepPlan, ...] = read_steps(given["steps"])
    except ValueError as error:
        raise Invalid(steps=str(error)) from error
    return given | {"steps": steps}


def answered(view: ConsoleView, rollout_id: int, status: int = 200) -> Response:
    found = queries.get_rollout(view.viewer, rollout_id)
    return view.answer(RolloutDetailOut(found).data, status=status)
