"""Services: what tenants call by a served model name."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import services as actions
from fleet.queries import services as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class PodLoadOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    running = serializers.FloatField(allow_null=True, help_text="Requests; null: not told")
    waiting = serializers.FloatField(allow_null=True)
    kv_usage = serializers.FloatField(allow_null=True, help_text="0 to 1 of its cache")


class PodOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    release = serializers.CharField(help_text="Fingerprint, from its label")
    role = serializers.CharField(help_text="serve, or its part in a replica: prefill, decode")
    node = serializers.CharField()
    ready = serializers.BooleanField()
    admitted = serializers.BooleanField()
    terminating = serializers.BooleanField()
    restarts = serializers.IntegerField()
    gpus = serializers.IntegerField()
    reason = serializers.CharField()
    message = serializers.CharField()
    probe = serializers.CharField(help_text="What its last probe answered")
    probed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class LoadedPodOut(PodOut):
    load = PodLoadOut(
        allow_null=True, help_text="As its metrics said last; null: not in the last 5 minutes"
    )


class DeploymentOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    release_id = serializers.IntegerField()
    release = serializers.CharField()
    fingerprint = serializers.CharField()
    image_digest = serializers.CharField()
    cluster = serializers.CharField()
    replicas = serializers.IntegerField()
    serving = serializers.IntegerField()
    weight = serializers.IntegerField(help_text="Percent of the service's traffic")
    pods = PodOut(many=True)


class LoadedDeploymentOut(DeploymentOut):
    pods = LoadedPodOut(many=True)


class ServiceOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    version = serializers.IntegerField()
    demo = serializers.BooleanField()
    cluster = serializers.CharField()
    cluster_id = serializers.IntegerField(allow_null=True)
    release = serializers.CharField()
    release_id = serializers.IntegerField(allow_null=True)
    replicas = serializers.IntegerField()
    serving = serializers.IntegerField()
    sync = serializers.CharField(help_text="in_sync, drifted, unknown")
    health = serializers.CharField(
        help_text="healthy, degraded, down, sleeping, waking, empty, unknown"
    )
    why = serializers.ListField(child=serializers.CharField())
    observed_at = serializers.DateTimeField(allow_null=True)
    rollout_id = serializers.IntegerField(allow_null=True)
    rollout_phase = serializers.CharField()
    findings = serializers.IntegerField()
    slept_at = serializers.DateTimeField(allow_null=True, help_text="It sleeps, or wakes")
    woken_at = serializers.DateTimeField(
        allow_null=True, help_text="It wakes: its first replica was ordered"
    )
    requests = serializers.IntegerField(help_text="Of the last hour")
    answered = serializers.IntegerField()
    deployments = DeploymentOut(many=True)


class ObjectiveOut(serializers.Serializer[Any]):
    ttft_ms = serializers.IntegerField()
    itl_ms = serializers.IntegerField()
    queue_ms = serializers.IntegerField()


class LoadedServiceOut(ServiceOut):
    deployments = LoadedDeploymentOut(many=True)


class ServiceDetailOut(serializers.Serializer[Any]):
    service = LoadedServiceOut()
    objectives = serializers.DictField(child=ObjectiveOut())
    max_model_len = serializers.IntegerField()
    default_max_tokens = serializers.IntegerField()
    max_queue = serializers.IntegerField()
    request_seconds = serializers.IntegerField()
    chunk_seconds = serializers.IntegerField()
    prefetch_seconds = serializers.IntegerField()
    fallbacks = serializers.ListField(child=serializers.CharField())


class ServiceFields(Strict):
    description = TextField(required=False, allow_blank=True, max_length=200)
    cluster_id = CountField(required=False, allow_null=True)
    replicas = CountField(required=False)
    objectives = serializers.DictField(
        required=False,
        child=serializers.DictField(child=CountField()),
        help_text="Class to ttft_ms, itl_ms, queue_ms; what is left out has defaults",
    )
    max_model_len = CountField(required=False)
    default_max_tokens = CountField(required=False)
    max_queue = CountField(required=False)
    request_seconds = CountField(required=False)
    chunk_seconds = CountField(required=False)
    prefetch_seconds = CountField(
        required=False,
        help_text="How long a rollout waits for its image on nodes before anything moves; 0: it is"
        " not brought there before",
    )
    fallbacks = serializers.ListField(required=False, child=TextField(), max_length=20)


class ServiceIn(ServiceFields):
    name = TextField(max_length=63)


class ServiceChange(ServiceFields):
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class ServicesView(ConsoleView):
    @operation("services_list", gives=ServiceOut(many=True))
    def get(self, request: Request) -> Response:
        rows = queries.list_services(self.viewer, timezone.now())
        return self.answer(ServiceOut(rows, many=True).data)

    @operation("services_create", takes=ServiceIn, gives=ServiceDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Make a service. It answers nothing before a release was rolled out to it."""
        service = actions.create(self.viewer, **self.given(ServiceIn))
        return answered(self, service.pk, 201)


class ServiceView(ConsoleView):
    @operation("services_get", gives=ServiceDetailOut)
    def get(self, request: Request, service_id: int) -> Response:
        return answered(self, service_id)

    @operation("services_change", takes=ServiceChange, gives=ServiceDetailOut, if_match=True)
    def patch(self, request: Request, service_id: int) -> Response:
        """Change a service. A new number of replicas is reached between rollouts, in seconds."""
        queries.get_service(self.viewer, service_id, timezone.now())
        given = self.given(ServiceChange)
        actions.change(self.viewer, service_id, self.expected_version(of=service_id), **given)
        return answered(self, service_id)


def answered(view: ConsoleView, service_id: int, status: int = 200) -> Response:
    found = queries.get_service(view.viewer, service_id, timezone.now())
    return view.answer(ServiceDetailOut(found).data, etag=found.service.etag, status=status)
