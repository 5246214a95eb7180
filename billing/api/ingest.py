"""The ingest door for gateways: a batch of CloudEvents in, a receipt out."""

import zlib
from dataclasses import asdict
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions.ingest import BatchTooLarge, ingest
from billing.queries.clocks import source_clocks
from billing.queries.quarantine import REASONS
from billing.rules.clocks import SourceClock
from billing.rules.prefixes import PREFIXES_TYPE
from gateway.contract.usage import EVENT_TYPE, SHADOW_TYPE
from tenants.api.base.pages import ListPages
from tenants.api.base.parsers import CloudEventsBatchParser, StrictJSONParser
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.queries.directory import source_names
from tenants.rules.access import Viewer

LARGEST_BODY = 32 * 1024 * 1024
MEDIA_TYPES = (CloudEventsBatchParser.media_type, StrictJSONParser.media_type)


class QuarantinedOut(serializers.Serializer[Any]):
    position = serializers.IntegerField(help_text="In the batch as it was sent; the first is 0")
    id = serializers.CharField(allow_blank=True, help_text="As given; empty when there was none")
    reason = serializers.ChoiceField(REASONS)
    detail = serializers.CharField()


class ReceiptOut(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Known ids with the same content")
    quarantined = QuarantinedOut(many=True)


class CloudEventIn(serializers.Serializer[Any]):
    specversion = serializers.ChoiceField(["1.0"])
    id = serializers.UUIDField(help_text="The request's id; unique within the source")
    source = serializers.CharField()  # type: ignore[assignment]  # CloudEvents names it so
    type = serializers.ChoiceField([EVENT_TYPE, SHADOW_TYPE, PREFIXES_TYPE])
    time = serializers.DateTimeField()
    data = serializers.DictField(  # type: ignore[assignment]  # as above
        help_text="Schema 1. Tenant and application by `tenant_id` and `application_id`, or by"
        " their slugs in `tenant` and `application`"
    )


class SourceClockOut(serializers.Serializer[Any]):
    """Of what arrived within 24 hours; durations from the end of a request to its arrival."""

    source_id = serializers.IntegerField()
    name = serializers.CharField()
    events = serializers.IntegerField()
    least_ms = serializers.IntegerField(help_text="Below 0: it ended in the future")
    most_ms = serializers.IntegerField()
    arrived_at = serializers.DateTimeField(allow_null=True, help_text="The last one")
    from_future = serializers.IntegerField(help_text="In quarantine for it")
    too_late = serializers.IntegerField(help_text="In quarantine for it")
    alarms = serializers.ListField(child=serializers.CharField(), help_text="In words")


class SourcePages(ListPages):
    def key(self, row: Any) -> str:
        return f"{row['source_id']:020}"


class UsageSourcesView(ConsoleView):
    pagination_class = SourcePages

    @operation("usage_sources_list", gives=SourceClockOut(many=True))
    def get(self, request: Request) -> Response:
        """How late each source's events arrive, and whose clock is wrong."""
        names = source_names()
        found = source_clocks(self.viewer, timezone.now()).values()
        return self.page([clock_of(c, names) for c in found], SourceClockOut)


def clock_of(clock: SourceClock, names: dict[int, str]) -> dict[str, Any]:
    return {**asdict(clock), "name": names.get(clock.source_id, ""), "alarms": clock.alarms}


def take_batch(viewer: Viewer, request: Request) -> dict[str, Any]:
    receipt = ingest(viewer, body_of(request), now=timezone.now())
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "quarantined": [
            {
                "position": r.position,
                "id": r.event_id,
                "reason": r.reason.value,
                "detail": r.detail[:500],
            }
            for r in receipt.quarantined
        ],
    }


def body_of(request: Request) -> bytes:
    """The raw body: reading it as DRF does would parse every event twice."""
    if (request.content_type or "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaType(request.content_type or "")
    try:
        body = request._request.body
    except RequestDataTooBig as error:
        raise too_large() from error
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise ParseError(f"Content-Encoding {encoding[:40]!r} is not known here; send gzip or none")
    return unzip(body)


def unzip(body: bytes) -> bytes:
    """Unpack no more than the largest body: a small file may hold a huge one."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, LARGEST_BODY + 1)
    except zlib.error as error:
        raise ParseError(f"The body is not gzip: {error}") from error
    if len(plain) > LARGEST_BODY:
        raise too_large()
    if not unpacker.eof:
        raise ParseError("The gzip body ends too early")
    if unpacker.unused_data:  # as a second gzip file: what is in it would be lost without a word
        raise ParseError("Something follows the end of the gzip body; send one batch at a time")
    return plain


def too_large() -> BatchTooLarge:
    return BatchTooLarge(f"A body has at most {LARGEST_BODY} bytes; send fewer events at once")
