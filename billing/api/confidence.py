"""Billing confidence: by service over a range, and hour by hour with what it is judged from."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, read_range, tenant_id_of
from billing.queries.completeness import compare_tokens
from billing.queries.confidence import compare_hours
from fleet.queries.services import service_names
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.errors import NotFound

LARGEST_ID = 2**63 - 1
PART = "From 0 to 1; null: nothing is known of it"


class ConfidenceOut(serializers.Serializer[Any]):
    service_id = serializers.IntegerField()
    metered_prompt = serializers.IntegerField()
    metered_completion = serializers.IntegerField()
    counted_prompt = serializers.IntegerField(help_text="By the engines, without our probes")
    counted_completion = serializers.IntegerField()
    engines = serializers.IntegerField(help_text="Most in one hour")
    hours = serializers.IntegerField(
        help_text="In which engines were read: both sides are of those"
    )
    hours_unknown = serializers.IntegerField(
        help_text="With metered tokens, but no engine was read"
    )
    drift = serializers.FloatField(allow_null=True, help_text="Part of what engines counted")
    is_alarming = serializers.BooleanField(help_text="More than 0.5 %")


class HourFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)
    service = serializers.CharField(required=False, max_length=128, help_text="Its name")
    off = serializers.BooleanField(
        required=False, default=False, help_text="Only hours below the threshold or not known"
    )


class ConfidenceHourOut(serializers.Serializer[Any]):
    """Of a service's hour; with `tenant`, of what that tenant used in it."""

    hour = serializers.DateTimeField(help_text="Its first instant, UTC")
    service_id = serializers.IntegerField(help_text="0: none answered")
    state = serializers.CharField(help_text="within, off, unknown (no engine was read)")
    why = serializers.CharField(allow_blank=True, help_text="What is below its threshold")
    figure = serializers.FloatField(allow_null=True, help_text="The worst ingredient")
    tokens = serializers.FloatField(allow_null=True, help_text=f"Metered against counted. {PART}")
    delivery = serializers.FloatField(allow_null=True, help_text=f"Events that arrived. {PART}")
    measured = serializers.FloatField(allow_null=True, help_text=f"Tokens not estimated. {PART}")
    metered = serializers.IntegerField(help_text="Tokens, of all tenants")
    counted = serializers.IntegerField(allow_null=True, help_text="By engines, without our probes")
    engines = serializers.IntegerField()
    theirs = serializers.IntegerField(help_text="Tokens of the tenant that was asked for")
    estimated = serializers.IntegerField(help_text="Tokens that a gateway had to estimate")
    sent = serializers.IntegerField(
        allow_null=True, help_text="Events that gateways wrote for this hour, of all services"
    )
    missing = serializers.IntegerField(help_text="Of these, neither stored nor in quarantine")
    quarantined = serializers.IntegerField(help_text="Of this hour, wait for a person")
    waiting = serializers.IntegerField(help_text="Most events that one gateway's spool held")
    oldest_seconds = serializers.FloatField(help_text="The longest that one of them waited")


class ServicePages(ListPages):
    def key(self, row: Any) -> str:
        return f"{row.service_id:020}"


class ConfidenceView(ConsoleView):
    pagination_class = ServicePages

    @operation("usage_confidence_get", gives=ConfidenceOut(many=True), filters=RangeFilters)
    def get(self, request: Request) -> Response:
        """Metered tokens against the engines' own counters, for the whole hours of the range."""
        start, end = read_range(self.filters(RangeFilters))
        return self.page(compare_tokens(self.viewer, start, end), ConfidenceOut)


class HourPages(ListPages):
    """The newest hour first, of one hour the services in their order."""

    is_descending = True

    def key(self, row: Any) -> str:
        return f"{row.hour:%Y-%m-%dT%H} {LARGEST_ID - row.service_id:020}"


class ConfidenceHoursView(ConsoleView):
    pagination_class = HourPages

    @operation("usage_confidence_hours", gives=ConfidenceHourOut(many=True), filters=HourFilters)
    def get(self, request: Request) -> Response:
        """Hour by hour, newest first, with what each is judged from. For the fleet's people."""
        given = self.filters(HourFilters)
        start, end = read_range(given)
        tenant, service = given.get("tenant"), given.get("service")
        rows = compare_hours(
            self.viewer,
            start,
            end,
            service_id=service_id_of(self, service) if service else None,
            tenant_id=tenant_id_of(tenant) if tenant else None,
            is_off=given["off"],
        )
        return self.page(rows, ConfidenceHourOut)


def service_id_of(view: ConsoleView, name: str) -> int:
    for service_id, known in service_names(view.viewer).items():
        if known == name:
            return service_id
    raise NotFound("There is nothing here, or it is not yours to see")
