"""Usage: sums by hour, single requests, and what waits in quarantine."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import (
    RequestFilters,
    UsageFilters,
    usage_filter,
)
from billing.api.ingest import MEDIA_TYPES, CloudEventIn, ReceiptOut, take_batch
from billing.queries import requests as queries
from tenants.api.base.parsers import CloudEventsBatchParser, StrictJSONParser
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView, Pages

HOSTED = "The hosted provider that answered; empty: the fleet's own engines"


class HourPages(Pages):
    ordering = ("-hour", "-id")


class RequestPages(Pages):
    ordering = ("-event_time", "-id")


class UsageHourOut(serializers.Serializer[Any]):
    hour = serializers.DateTimeField(help_text="Its first instant, UTC")
    tenant_id = serializers.IntegerField()
    application_id = serializers.IntegerField()
    model = serializers.CharField(allow_blank=True, help_text="Empty: names no service has")
    service_id = serializers.IntegerField(help_text="0: none answered")
    traffic_class = serializers.CharField()
    outcome = serializers.CharField()
    release = serializers.CharField(
        allow_blank=True, help_text="That answered; empty: none, or not known of an older hour"
    )
    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField(help_text="Cached ones included")
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    hosted = serializers.CharField(help_text=HOSTED)
    gpu_product = serializers.CharField(help_text="Of the engine's GPUs; empty: not known")
    gpu_ms = serializers.IntegerField(
        help_text="GPU-milliseconds: time in the engine x the GPUs of the engine"
    )
    before_ms = serializers.IntegerField(
        help_text="Of these, before the hour began: charged in this hour, caused in the one before"
    )


class UsageEventOut(serializers.Serializer[Any]):
    request_id = serializers.UUIDField()
    started_at = serializers.DateTimeField()
    event_time = serializers.DateTimeField(help_text="When it ended; decides its hour")
    stored_at = serializers.DateTimeField()
    tenant_id = serializers.IntegerField()
    application_id = serializers.IntegerField()
    credential_id = serializers.IntegerField()
    model = serializers.CharField()
    service_id = serializers.IntegerField(allow_null=True)
    release = serializers.CharField(allow_blank=True)
    cluster = serializers.CharField(allow_blank=True)
    traffic_class = serializers.CharField()
    outcome = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    modifiers = serializers.ListField(child=serializers.CharField())
    http_status = serializers.IntegerField()
    finish_reason = serializers.CharField(allow_blank=True)
    usage_quality = serializers.CharField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    queue_ms = serializers.FloatField(allow_null=True)
    ttft_ms = serializers.FloatField(allow_null=True)
    itl_ms = serializers.FloatField(allow_null=True)
    itl_p95_ms = serializers.FloatField(allow_null=True)
    gpu_ms = serializers.IntegerField(help_text="Time in the engine")
    gpus = serializers.IntegerField(help_text="Of the engine that answered")
    gpu_product = serializers.CharField(allow_blank=True)
    hosted = serializers.CharField(allow_blank=True, help_text=HOSTED)
    demo = serializers.BooleanField()


class MeterLineOut(serializers.Serializer[Any]):
    meter = serializers.CharField()
    unit = serializers.CharField()
    quantity = serializers.DecimalField(38, 6)
    unit_price = serializers.DecimalField(24, 12, allow_null=True)
    amount = serializers.DecimalField(38, 12, allow_null=True, help_text="Null: no price")


class RequestOut(serializers.Serializer[Any]):
    event = UsageEventOut()
    currency = serializers.CharField()
    is_billed = serializers.BooleanField(help_text="Whether its outcome is paid for")
    lines = MeterLineOut(many=True)
    amount = serializers.DecimalField(38, 12)


class UsageView(ConsoleView):
    pagination_class = HourPages

    @operation("usage_list", gives=UsageHourOut(many=True), filters=UsageFilters)
    def get(self, request: Request) -> Response:
        """Sums by hour, newest first."""
        wanted = usage_filter(self.filters(UsageFilters))
        return self.page(queries.list_hours(self.viewer, wanted), UsageHourOut)


class UsageEventsView(ConsoleView):
    """Requests one by one; and the door at which gateways report them.

    The action behind POST opens its own scope: a usage source speaks for all tenants.
    """

    pagination_class = RequestPages
    parser_classes = [CloudEventsBatchParser, StrictJSONParser]

    @operation("usage_events_list", gives=UsageEventOut(many=True), filters=RequestFilters)
    def get(self, request: Request) -> Response:
        """Requests, newest first."""
        wanted = usage_filter(self.filters(RequestFilters))
        return self.page(queries.list_requests(self.viewer, wanted), UsageEventOut)

    @operation(
        "usage_events_ingest", takes={MEDIA_TYPES[0]: CloudEventIn(many=True)}, gives=ReceiptOut
    )
    def post(self, request: Request) -> Response:
        """Store a batch of up to 10,000 usage events, each once. Bad ones do not stop the rest."""
        return Response(take_batch(self.viewer, request))


class UsageEventView(ConsoleView):
    @operation("usage_events_get", gives=RequestOut)
    def get(self, request: Request, request_id: str) -> Response:
        """One request, with what it costs at the prices of its hour."""
        return self.answer(RequestOut(queries.get_request(self.viewer, request_id)).data)
