"""Releases: immutable, pinned, compared."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import releases as actions
from fleet.api.pins import PinsIn, PinsOut
from fleet.api.resolutions import ResolutionOut
from fleet.queries import releases as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class ReleaseOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes fields off the class
    number = serializers.IntegerField()
    service_id = serializers.IntegerField()
    service = serializers.CharField()
    digest = serializers.CharField(help_text="SHA-256 of the canonical content")
    fingerprint = serializers.CharField(help_text="What each answer of the release carries")
    model = serializers.CharField()
    commit = serializers.CharField()
    image = serializers.CharField()
    image_tag = serializers.CharField()
    image_digest = serializers.CharField()
    gpus = serializers.IntegerField()
    gpu_product = serializers.CharField(help_text="Empty: any, or several")
    gpu_mix = serializers.DictField(
        child=serializers.IntegerField(), help_text="GPUs of a replica by product"
    )
    note = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    fate = serializers.CharField(help_text="serving, trying, succeeded, rolled_back, unused ...")
    rollout_id = serializers.IntegerField(allow_null=True)


class ResourcesOut(serializers.Serializer[Any]):
    gpu_product = serializers.CharField()
    gpus = serializers.IntegerField(help_text="Of a pod")
    group_size = serializers.IntegerField(help_text="Pods that are one engine")
    topology = serializers.CharField(
        help_text="Label of nodes: all pods of an engine on nodes of one value, alone there"
    )
    subgroup_size = serializers.IntegerField(
        help_text="So many pods are together instead; 0: all of the engine"
    )
    cpu = serializers.CharField()
    memory = serializers.CharField()
    shared_memory = serializers.CharField()


class ProbesOut(serializers.Serializer[Any]):
    startup_seconds = serializers.IntegerField()
    pre_stop_seconds = serializers.IntegerField()
    drain_seconds = serializers.IntegerField()
    teardown_seconds = serializers.IntegerField()
    kv_lease_seconds = serializers.IntegerField(
        help_text="Of roles: from the end of traffic until prefill goes"
    )


class PodRoleOut(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="prefill, decode")
    replicas = serializers.IntegerField(help_text="Pods of it in one replica of the release")
    arguments = serializers.ListField(child=serializers.CharField())
    resources = serializers.DictField(help_text="Instead of those of the release")


class SignatureOut(serializers.Serializer[Any]):
    policy = serializers.CharField(help_text="Of its cluster: off, warn, enforce")
    state = serializers.CharField(
        help_text="verified, partial (a model's, which does not cover every file), unsigned, wrong,"
        " unchecked; empty: unknown"
    )
    why = serializers.CharField()


class ReleaseDetailOut(serializers.Serializer[Any]):
    release = ReleaseOut()
    tokenizer_commit = serializers.CharField()
    code_commit = serializers.CharField()
    chat_template_digest = serializers.CharField()
    licence = serializers.CharField()
    model_label = serializers.CharField()
    arguments = serializers.ListField(child=serializers.CharField())
    environment = serializers.DictField(child=serializers.CharField())
    pins = PinsOut()
    weights_cache = serializers.CharField(
        source="pins.weights",
        help_text="The cache of its cluster that it reads weights of a hub from, as it was when the"
        " release was made; empty: it reads what its image holds",
    )
    served_names = serializers.ListField(child=serializers.CharField())
    kv_layout = serializers.CharField(help_text="Equal: blocks of one are readable for the other")
    kv_policy = serializers.ListField(child=serializers.CharField())
    resources = ResourcesOut()
    probes = ProbesOut()
    roles = PodRoleOut(many=True)
    image_resolution = ResolutionOut(allow_null=True)
    model_resolution = ResolutionOut(allow_null=True)
    signature = SignatureOut(help_text="Of the image")
    model_signature = SignatureOut(help_text="Of weights, tokenizer and code")
    starts = serializers.IntegerField(help_text="Measured cold starts")
    start_p50 = serializers.FloatField(allow_null=True, help_text="Seconds")
    start_p95 = serializers.FloatField(allow_null=True, help_text="Seconds")


class DifferenceOut(serializers.Serializer[Any]):
    part = serializers.CharField()
    name = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    means = serializers.CharField()


class ComparisonOut(serializers.Serializer[Any]):
    old = ReleaseOut()
    new = ReleaseOut()
    changes = DifferenceOut(many=True)
    visible = serializers.ListField(child=serializers.CharField())
    cost = serializers.ListField(child=serializers.CharField())
    kv = serializers.ListField(
        child=serializers.CharField(), help_text="Why blocks of one are unreadable for the other"
    )
    kv_domain_changes = serializers.BooleanField()


class ModelIn(Strict):
    name = TextField(max_length=200)
    commit = TextField(max_length=71)
    label = TextField(required=False, allow_blank=True, max_length=120)  # type: ignore[assignment]  # DRF takes fields off the class
    tokenizer_commit = TextField(required=False, allow_blank=True, max_length=71)
    code_commit = TextField(required=False, allow_blank=True, max_length=71)
    chat_template_digest = TextField(required=False, allow_blank=True, max_length=71)
    licence = TextField(required=False, allow_blank=True, max_length=64)


class ResourcesIn(Strict):
    gpu_product = TextField(required=False, allow_blank=True, max_length=120)
    gpus = CountField(required=False, min_value=1, max_value=64, help_text="Of a pod")
    group_size = CountField(
        required=False, min_value=1, max_value=16, help_text="Pods that are one engine"
    )
    topology = TextField(
        required=False, allow_blank=True, max_length=317,
        help_text="Label of nodes, nvidia.com/gpu.clique: all pods of an engine on nodes of one"
        " value, alone there. Needs LeaderWorkerSet",
    )  # fmt: skip
    subgroup_size = CountField(
        required=False, min_value=0, max_value=16,
        help_text="So many pods are together instead; 0: all of the engine",
    )  # fmt: skip
    cpu = TextField(required=False, max_length=20)
    memory = TextField(required=False, max_length=20)
    shared_memory = TextField(required=False, max_length=20)


class ProbesIn(Strict):
    startup_seconds = CountField(required=False)
    pre_stop_seconds = CountField(required=False)
    drain_seconds = CountField(required=False)
    teardown_seconds = CountField(required=False)
    kv_lease_seconds = CountField(
        required=False, help_text="Of roles: from the end of traffic until prefill goes"
    )


class PodRoleIn(Strict):
    name = TextField(max_length=16, help_text="prefill, decode")
    replicas = CountField(min_value=1, max_value=16, help_text="Pods of it in one replica")
    arguments = serializers.ListField(
        required=False, child=TextField(max_length=4000), max_length=100
    )
    resources = ResourcesIn(required=False)


class ReleaseIn(Strict):
    service_id = CountField(min_value=1)
    model = ModelIn()
    image = TextField(max_length=400, help_text="repository[:tag]@sha256:...")
    arguments = serializers.ListField(
        required=False, child=TextField(max_length=4000), max_length=100
    )
    environment = serializers.DictField(required=False, child=TextField(max_length=4000))
    pins = PinsIn(required=False)
    resources = ResourcesIn(required=False)
    probes = ProbesIn(required=False)
    roles = PodRoleIn(many=True, required=False)
    note = TextField(required=False, allow_blank=True, max_length=300)


class ReleaseFilter(serializers.Serializer[Any]):
    service_id = serializers.IntegerField(required=False, min_value=1)


class CompareFilter(serializers.Serializer[Any]):
    to = serializers.IntegerField(min_value=1, help_text="The other release")


class ReleasesView(ConsoleView):
    @operation("releases_list", gives=ReleaseOut(many=True), filters=ReleaseFilter)
    def get(self, request: Request) -> Response:
        """Newest first."""
        rows = queries.list_releases(self.viewer, **self.filters(ReleaseFilter))
        return self.answer(ReleaseOut(rows, many=True).data)

    @operation("releases_create", takes=ReleaseIn, gives=ReleaseDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Pin a release; refused with a sentence for each field that does not pin or fit."""
        given = self.given(ReleaseIn)
        release = actions.create_release(self.viewer, given.pop("service_id"), **given)
        found = queries.get_release(self.viewer, release.pk)
        return self.answer(ReleaseDetailOut(found).data, status=201)


class ReleaseView(ConsoleView):
    @operation("releases_get", gives=ReleaseDetailOut)
    def get(self, request: Request, release_id: int) -> Response:
        found = queries.get_release(self.viewer, release_id)
        return self.answer(ReleaseDetailOut(found).data)


class CompareView(ConsoleView):
    @operation("releases_compare", gives=ComparisonOut, filters=CompareFilter)
    def get(self, request: Request, release_id: int) -> Response:
        """What changes from this release to another one, and what that means."""
        other = self.filters(CompareFilter)["to"]
        found = queries.compare_releases(self.viewer, release_id, other)
        return self.answer(ComparisonOut(found).data)
