"""Exports: ask for a file, see its evidence, fetch it."""

from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import exports as actions
from billing.api.filters import tenant_id_of
from billing.queries import exports as queries
from billing.queries.exports import MEDIA_TYPES, media_type
from billing.rules.datasets import FORMATS
from tenants.api.base.schema import IF_NONE_MATCH, NOT_MODIFIED, operation
from tenants.api.base.serializers import Strict
from tenants.api.base.views import ConsoleView
from tenants.base.files import answer_file


class ExportIn(Strict):
    format = serializers.ChoiceField(FORMATS, help_text="csv: our own columns")
    file_type = serializers.ChoiceField(actions.TYPES, required=False, default="csv")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="Not part of the range")
    tenant = serializers.SlugField(required=False, default="", allow_blank=True, max_length=63)
    destination_id = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, help_text="Null: the folder"
    )


class ArtifactOut(serializers.Serializer[Any]):
    filename = serializers.CharField()
    rows = serializers.IntegerField()
    bytes = serializers.IntegerField()
    sums = serializers.DictField(child=serializers.CharField(), help_text="Currency: exact sum")
    sha256 = serializers.CharField()
    watermark = serializers.IntegerField(help_text="Newest charge in the snapshot")
    complete_until = serializers.DateTimeField(help_text="Usage before this is in the file")
    created_at = serializers.DateTimeField()
    manifest = serializers.JSONField(help_text="As it lies beside the file")


class ExportOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    format = serializers.CharField()
    file_type = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Null: the whole fleet")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    state = serializers.CharField(help_text="waiting, done, failed")
    why = serializers.CharField(allow_blank=True)
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    schedule_id = serializers.IntegerField(allow_null=True)
    destination_id = serializers.IntegerField(allow_null=True)
    artifact = ArtifactOut(default=None, allow_null=True)


class ExportsView(ConsoleView):
    @operation("exports_list", gives=ExportOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_exports(self.viewer), ExportOut)

    @operation("exports_create", takes=ExportIn, gives=ExportOut, status=202)
    def post(self, request: Request) -> Response:
        """Ask for a file; it is there seconds later, see its `state`."""
        given = self.given(ExportIn)
        tenant = given.pop("tenant")
        job = actions.request_export(
            self.viewer,
            tenant_id=tenant_id_of(tenant) if tenant else None,
            now=timezone.now(),
            **given,
        )
        job.refresh_from_db()
        return self.answer(ExportOut(job).data, status=202)


class ExportView(ConsoleView):
    @operation("exports_get", gives=ExportOut)
    def get(self, request: Request, export_id: int) -> Response:
        return self.answer(ExportOut(queries.get_export(self.viewer, export_id)).data)


class RetryView(ConsoleView):
    @operation("exports_retry", gives=ExportOut, status=202)
    def post(self, request: Request, export_id: int) -> Response:
        """Make a failed file again; it is there seconds later, see its `state`."""
        job = actions.retry_export(self.viewer, export_id, now=timezone.now())
        return self.answer(ExportOut(job).data, status=202)


described: Callable[[Any], Any] = extend_schema(
    operation_id="exports_download",
    parameters=[IF_NONE_MATCH],
    responses=NOT_MODIFIED | {(200, kind): OpenApiTypes.BINARY for kind in MEDIA_TYPES.values()},
)


class AnyAnswer(BaseContentNegotiation):
    """A file is what it is, whatever the client would rather have."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class DownloadView(ConsoleView):
    content_negotiation_class = AnyAnswer

    @described
    def get(self, request: Request, export_id: int) -> HttpResponseBase:
        """The file, with its SHA-256 as ETag."""
        artifact, data = queries.open_export(self.viewer, export_id)
        if known := self.unless_known(etag := f'"{artifact.sha256}"'):
            data.close()
            return known
        answer = answer_file(
            request._request,
            data,
            filename=artifact.filename,
            size=artifact.bytes,
            content_type=media_type(artifact.filename),
        )
        answer["ETag"] = etag
        return answer
