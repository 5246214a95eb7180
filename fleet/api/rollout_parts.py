"""Parts of a rollout: its pods, what the cluster said, logs, traffic over time, money."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.queries.rollout_pods import get_log
from fleet.queries.rollout_traffic import traffic_of
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class KeptPodOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    release = serializers.CharField(help_text="Fingerprint")
    role = serializers.CharField()
    node = serializers.CharField()
    created_at = serializers.DateTimeField()
    start_seconds = serializers.FloatField(
        allow_null=True, help_text="From creation to admission; null: it never took traffic"
    )
    restarts = serializers.IntegerField()
    trouble = serializers.CharField(help_text="Why it does not run; empty: nothing was seen")
    answered = serializers.CharField(help_text="The fingerprint that its answers carried last")
    answered_at = serializers.DateTimeField(allow_null=True)
    gone = serializers.BooleanField()
    gone_at = serializers.DateTimeField(allow_null=True)


class StepLineOut(serializers.Serializer[Any]):
    title = serializers.CharField(help_text="First replicas, 5 %, Shadow 10 %, 100 %, Soak")
    percent = serializers.IntegerField(help_text="Of the traffic, as planned")
    takes_part = serializers.CharField()
    new = serializers.IntegerField(help_text="Replicas of the new release, as planned")
    old = serializers.IntegerField(help_text="Replicas of the old release, as planned")
    new_was = serializers.IntegerField(allow_null=True, help_text="As it was; null: not reached")
    old_was = serializers.IntegerField(allow_null=True)
    hold_seconds = serializers.FloatField(allow_null=True, help_text="At least, as planned")
    held_seconds = serializers.FloatField(allow_null=True, help_text="From begun to ended")
    min_samples = serializers.IntegerField(allow_null=True)
    samples = serializers.IntegerField(
        allow_null=True, help_text="The fewest of the figures that a pass needs"
    )
    approval = serializers.BooleanField(help_text="Asks a person when its gate has passed")
    state = serializers.CharField(
        help_text="passed, skipped, failed, went_back, now, next, not_reached"
    )
    why = serializers.CharField(help_text="What its gate said last")
    begun = serializers.DateTimeField(allow_null=True)
    ended = serializers.DateTimeField(allow_null=True)


class FetchOut(serializers.Serializer[Any]):
    node = serializers.CharField(help_text="Or `claim NAME`: weights that all nodes share")
    pod = serializers.CharField(help_text="That pulls; empty: not made yet")
    state = serializers.CharField(
        help_text="waiting, pulling, loading (weights), done, disk, registry, place, hub, commit,"
        " access, failed"
    )
    weights = serializers.CharField(
        help_text="waiting, pulling, done, or the trouble's state; empty: it brings none"
    )
    trouble = serializers.CharField(help_text="The words of registry, disk, scheduler or hub")
    told = serializers.CharField(help_text="Of what brought weights: their size")
    made_at = serializers.DateTimeField(allow_null=True)
    state_at = serializers.DateTimeField(help_text="When it was seen in this state first")
    gone = serializers.BooleanField()
    gone_at = serializers.DateTimeField(allow_null=True)


class PrefetchOut(serializers.Serializer[Any]):
    limit_seconds = serializers.IntegerField(help_text="How long it waits; 0: nothing is brought")
    skipped = serializers.CharField(help_text="Why no image was brought; empty: it is, or was")
    rows = FetchOut(many=True, help_text="One a node, those in trouble first")
    weights = serializers.BooleanField(help_text="Come the same way")
    cache = serializers.CharField(
        help_text="That weights of a hub are brought into: a directory of each node or the name of"
        " a claim; empty: none"
    )
    weights_why = serializers.CharField(help_text="Why, or why not")


class ClusterEventOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    name = serializers.CharField()
    reason = serializers.CharField()
    message = serializers.CharField()
    warning = serializers.BooleanField()
    count = serializers.IntegerField()


class LogEndOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    pod = serializers.CharField()
    release = serializers.CharField(help_text="Fingerprint")
    previous = serializers.BooleanField(help_text="Of the run before its last restart")
    restarts = serializers.IntegerField(help_text="When it was read")
    at = serializers.DateTimeField()
    lines = serializers.IntegerField(help_text="That are kept")
    end = serializers.CharField(help_text="Its last 40 lines")
    trouble = serializers.CharField(help_text="Why it could not be read; empty: it could")


class LogOut(LogEndOut):
    text = serializers.CharField(help_text="The last 400 lines, at most 64 KiB, secrets masked")


class SurgeCostOut(serializers.Serializer[Any]):
    """At the prices of the day it was proposed."""

    currency = serializers.CharField()
    sheet = serializers.IntegerField(help_text="Number of the price sheet")
    planned = serializers.DecimalField(
        max_digits=None, decimal_places=4, allow_null=True, help_text="Null: its time is not known"
    )
    spent = serializers.DecimalField(
        max_digits=None, decimal_places=4, help_text="So far, of GPU time that was measured"
    )
    gpu_ms = serializers.IntegerField(help_text="Measured on top of what served before")
    unpriced_ms = serializers.IntegerField(help_text="Of these: of products without a price")


class PointOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    share = serializers.FloatField(
        allow_null=True, help_text="Of the new release, 0 to 1, counted from answers"
    )
    requests_new = serializers.IntegerField()
    requests_old = serializers.IntegerField()
    errors_new = serializers.FloatField(allow_null=True)
    errors_old = serializers.FloatField(allow_null=True)
    ttft_new = serializers.FloatField(allow_null=True, help_text="p95, milliseconds")
    ttft_old = serializers.FloatField(allow_null=True)
    itl_new = serializers.FloatField(allow_null=True, help_text="p95, milliseconds")
    itl_old = serializers.FloatField(allow_null=True)
    copies = serializers.IntegerField(help_text="That a shadow answered")
    gpu_new = serializers.FloatField(allow_null=True, help_text="Tokens per GPU-second, median")
    gpu_old = serializers.FloatField(allow_null=True)
    length_new = serializers.FloatField(
        allow_null=True, help_text="Share of answers that ended at the token limit"
    )
    length_old = serializers.FloatField(allow_null=True)
    aborted_new = serializers.FloatField(
        allow_null=True, help_text="Share of requests that the engines gave up"
    )
    aborted_old = serializers.FloatField(allow_null=True)
    refused_new = serializers.FloatField(
        allow_null=True, help_text="Share of requests that the engines refused"
    )
    refused_old = serializers.FloatField(allow_null=True)
    cached_new = serializers.FloatField(
        allow_null=True, help_text="Share of prompt tokens from the cache"
    )
    cached_old = serializers.FloatField(allow_null=True)
    preempted_new = serializers.FloatField(allow_null=True, help_text="Preemptions a request")
    preempted_old = serializers.FloatField(allow_null=True)


class TrafficView(ConsoleView):
    @operation("rollouts_traffic", gives=PointOut(many=True))
    def get(self, request: Request, rollout_id: int) -> Response:
        """Of both releases over time, from the first write until the end."""
        points = traffic_of(self.viewer, rollout_id, timezone.now())
        return self.answer(PointOut(points, many=True).data)


class LogView(ConsoleView):
    @operation("rollouts_log", gives=LogOut)
    def get(self, request: Request, rollout_id: int, log_id: int) -> Response:
        """What is kept of the log of a container that failed or never got ready."""
        return self.answer(LogOut(get_log(self.viewer, rollout_id, log_id)).data)
