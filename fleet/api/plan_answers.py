"""What a plan answers: each way side by side, what they need, whom they touch."""

from typing import Any

from rest_framework import serializers

from fleet.queries.plans import Proposal
from fleet.rules.plan import Plan
from fleet.rules.surge_cost import cost_of


class OnTopOut(serializers.Serializer[Any]):
    product = serializers.CharField(help_text="Empty: any")
    gpus = serializers.IntegerField()
    free = serializers.IntegerField()
    claimed = serializers.IntegerField(help_text="Free ones that other open rollouts take")
    missing = serializers.IntegerField()


class EarliestOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField(
        allow_null=True, help_text="As expected; null: never, or nobody can say when"
    )
    text = serializers.CharField()
    never = serializers.BooleanField()


class TouchOut(serializers.Serializer[Any]):
    tenant_id = serializers.IntegerField()
    tenant = serializers.CharField()
    traffic_class = serializers.CharField()
    requests = serializers.IntegerField(help_text="In the last hour")
    effect = serializers.CharField(
        help_text="none; cold_caches; waits: fewer replicas answer than the peak of 7 days needs;"
        " refused: for a time none answers"
    )
    at_risk = serializers.IntegerField(
        allow_null=True, help_text="Requests that find no replica; null: not measured how long"
    )


class WayFactsOut(serializers.Serializer[Any]):
    kind = serializers.CharField()
    earliest = EarliestOut()
    touches = TouchOut(many=True)


class PeakOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    requests = serializers.IntegerField(help_text="In the busiest slot of the last 7 days")
    slot_seconds = serializers.IntegerField()
    in_flight = serializers.FloatField(allow_null=True, help_text="About; null: not measured")
    each = serializers.IntegerField(help_text="Requests in flight that one replica takes")
    each_by = serializers.CharField()
    needs = serializers.FloatField(allow_null=True, help_text="Replicas")


class OnePlanOut(serializers.Serializer[Any]):
    kind = serializers.CharField()
    answer = serializers.CharField(help_text="possible, needs_consent, not_now, never")
    why = serializers.CharField()
    surge = serializers.IntegerField()
    at_once = serializers.IntegerField(help_text="New replicas that start together")
    gpus_on_top = serializers.IntegerField()
    gpus_free = serializers.IntegerField()
    gpus_claimed = serializers.IntegerField(help_text="Free ones that other open rollouts take")
    gpus_missing = serializers.IntegerField()
    products = OnTopOut(many=True, help_text="The same for each GPU product")
    quota = serializers.CharField(help_text="The tightest one; empty: none limits GPUs")
    quota_free = serializers.IntegerField(allow_null=True, help_text="GPUs that it leaves")
    quota_needed = serializers.IntegerField(help_text="GPUs on top that it counts")
    floor = serializers.IntegerField(
        allow_null=True, help_text="Replicas that disruption budgets want to answer"
    )
    min_replicas = serializers.IntegerField()
    min_percent = serializers.FloatField()
    gated = serializers.BooleanField(help_text="Steps and gates are possible")
    gap_seconds = serializers.FloatField(
        allow_null=True, help_text="Without any answering replica; null: not measured"
    )
    requests_at_risk = serializers.IntegerField(
        allow_null=True, help_text="That fall into the gap, at the rate of the last hour"
    )
    finish_seconds = serializers.FloatField(allow_null=True)
    gpu_seconds_on_top = serializers.FloatField(allow_null=True)
    cost_on_top = serializers.SerializerMethodField(
        help_text="Text, in the currency of the plans; null: no price, or its time is not known"
    )
    traffic_back_seconds = serializers.FloatField(allow_null=True)
    full_back_seconds = serializers.FloatField(allow_null=True)
    late_back_seconds = serializers.FloatField(
        allow_null=True, help_text="Full capacity back once everything has moved"
    )
    unmeasured = serializers.ListField(child=serializers.CharField())
    peak_replicas = serializers.FloatField(
        allow_null=True, help_text="That the peak of the last 7 days needs; null: not known"
    )

    def get_cost_on_top(self, plan: Plan) -> str | None:
        cost = cost_of(plan.on_top, plan.finish_seconds, self.context.get("prices", {}))
        return None if cost is None else str(cost)


class PlanCheckOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    verdict = serializers.CharField()
    text = serializers.CharField()


class StartGroupOut(serializers.Serializer[Any]):
    of = serializers.CharField(help_text="The release, or the model of several")
    node_pool = serializers.CharField(help_text="Empty: its nodes name none")
    cache = serializers.CharField(
        help_text="warm: the image was on the node; cold: it was not; empty: nobody could tell"
    )
    samples = serializers.IntegerField()
    p50 = serializers.FloatField()
    p95 = serializers.FloatField()


class StartsOut(serializers.Serializer[Any]):
    samples = serializers.IntegerField()
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    of = serializers.CharField(help_text="The release, or the model of several")
    borrowed = serializers.BooleanField(help_text="Of another release than the one meant")
    pool = serializers.CharField(help_text="GPU product of the nodes; empty: of all")
    expected = serializers.CharField(help_text="On which nodes the next ones will start")
    instead = serializers.CharField(
        help_text="Which starts count, as none was measured on such nodes; empty: some were"
    )
    slowest = serializers.FloatField(
        allow_null=True, help_text="p95 of the slowest kind that they may become: deadlines fit it"
    )
    groups = StartGroupOut(many=True, help_text="By release family, node pool and cache state")


class TouchedOut(serializers.Serializer[Any]):
    tenant_id = serializers.IntegerField()
    tenant = serializers.CharField()
    traffic_class = serializers.CharField()
    requests = serializers.IntegerField(help_text="In the last hour")


class PlansOut(serializers.Serializer[Any]):
    service = serializers.CharField()
    cluster = serializers.CharField()
    from_label = serializers.CharField()
    to_label = serializers.CharField()
    replicas = serializers.IntegerField()
    old_replicas = serializers.IntegerField()
    roles = serializers.CharField(help_text="Pods of a replica by role; empty: it is one pod")
    plans = OnePlanOut(many=True)
    ways = WayFactsOut(many=True, help_text="Of the same plans: when, and who is touched how")
    peak = PeakOut(source="situation.peak", allow_null=True, help_text="Null: no request in 7 days")
    currency = serializers.SerializerMethodField(help_text="Of the costs; empty: none is known")
    starts_new = StartsOut(source="situation.starts_new")
    starts_old = StartsOut(source="situation.starts_old")
    touched = TouchedOut(many=True)
    checks = PlanCheckOut(many=True)
    visible = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())
    manifests = serializers.ListField(child=serializers.DictField())
    observed_at = serializers.DateTimeField(allow_null=True)

    def get_currency(self, found: Proposal) -> str:
        return next((p.currency for p in self.context.get("prices", {}).values()), "")
