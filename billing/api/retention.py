"""Parts of requests: when each may go and why not; and those that were dropped."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.queries import retention as queries
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class UsagePartOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    starts_at = serializers.DateTimeField(allow_null=True, help_text="Null: the first part")
    ends_at = serializers.DateTimeField(help_text="Requests ended before it")
    requests = serializers.IntegerField(help_text="Of its days, as their hours have them")
    bytes = serializers.IntegerField(help_text="With indexes")
    goes_at = serializers.DateTimeField(
        allow_null=True, help_text="From then on it is old enough to go. Null: kept for ever"
    )
    why = serializers.ListField(
        child=serializers.CharField(), help_text="It is old enough, and this keeps it"
    )
    file = serializers.CharField(
        help_text="With its requests, below QM_USAGE_ARCHIVE. Empty: none that counts"
    )
    file_sha256 = serializers.CharField()


class DroppedPartOut(serializers.Serializer[Any]):
    part = serializers.CharField()
    starts_at = serializers.DateTimeField(allow_null=True, help_text="Null: the first part")
    ends_at = serializers.DateTimeField()
    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Of prompt_tokens")
    completion_tokens = serializers.IntegerField()
    gpu_ms = serializers.IntegerField()
    bytes = serializers.IntegerField(help_text="With indexes")
    sha256 = serializers.CharField(help_text="Of the digests of its tenants' days")
    rule = serializers.CharField(help_text="Why it went")
    file = serializers.CharField(
        help_text="With its requests, below QM_USAGE_ARCHIVE. Empty: they are in no file"
    )
    file_sha256 = serializers.CharField(help_text="Of the bytes of the file")
    dropped_at = serializers.DateTimeField()


class PartPages(ListPages):
    """The first part has no beginning; ends are in the order of time."""

    def key(self, row: Any) -> str:
        return f"{row.ends_at.isoformat()} {row.name}"


class UsagePartsView(ConsoleView):
    pagination_class = PartPages

    @operation("usage_parts_list", gives=UsagePartOut(many=True))
    def get(self, request: Request) -> Response:
        """Parts that are there, the oldest first."""
        return self.page(queries.list_parts(self.viewer, timezone.now()), UsagePartOut)


class DroppedPartsView(ConsoleView):
    @operation("usage_parts_dropped_list", gives=DroppedPartOut(many=True))
    def get(self, request: Request) -> Response:
        """Parts whose requests were dropped, with what they held."""
        return self.page(queries.list_dropped(self.viewer), DroppedPartOut)
