"""The charges, usage hours or shares of cost of a month, or of any range, as one stream."""

from collections.abc import Callable, Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from billing.api.costs import AllocationFilters
from billing.api.exports import AnyAnswer
from billing.api.filters import (
    ChargeFilters,
    UsageFilters,
    charge_filter,
    read_range,
    tenant_id_of,
    usage_filter,
)
from billing.queries.accounts import get_account
from billing.queries.hour_streams import HourStream, begin_allocations, begin_usage, rows_of
from billing.queries.money import named_month
from billing.queries.streams import Stream, begin, next_rows
from billing.rules.streams import MEDIA_TYPES, NDJSON, as_text, head, sums_header
from tenants.api.base.views import ConsoleView
from tenants.base.files import answer_stream
from tenants.base.scope import scope_of
from tenants.errors import Invalid
from tenants.rules.access import Viewer

ROWS = 5_000  # in memory at a time


class OfMonth(serializers.Serializer[Any]):
    month = serializers.RegexField(
        r"^\d{4}-\d\d$", required=False,
        help_text="2026-11, by the zone of the tenant's account, else UTC; instead of a range",
    )  # fmt: skip
    file_type = serializers.ChoiceField(tuple(MEDIA_TYPES), required=False, default=NDJSON)


class StreamFilters(OfMonth, ChargeFilters):
    """Of charges."""


class UsageStreamFilters(OfMonth, UsageFilters):
    """Of usage hours."""


class AllocationStreamFilters(OfMonth, AllocationFilters):
    """Of shares of cost."""


def described(name: str, filters: type[OfMonth]) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = extend_schema(
        operation_id=name,
        parameters=[filters],
        responses={(200, kind): OpenApiTypes.BINARY for kind in MEDIA_TYPES.values()},
    )
    return found


class StreamView(ConsoleView):
    """One answer of any size, the oldest hour first."""

    content_negotiation_class = AnyAnswer
    noun = ""

    def streamed(
        self, request: Request, file_type: str, given: dict[str, Any], parts: Iterator[bytes]
    ) -> StreamingHttpResponse:
        start, end = given["since"], given["until"]
        return answer_stream(
            request._request,
            parts,
            filename=f"{self.noun}-{start:%Y%m%d}-{end:%Y%m%d}.{file_type}",
            content_type=MEDIA_TYPES[file_type],
        )

    def of_month(self, filters: type[OfMonth]) -> tuple[str, dict[str, Any]]:
        """The type of file, and the other parameters with the month as a range."""
        given = self.filters(filters)
        file_type, month = given.pop("file_type"), given.pop("month", "")
        if month:
            if given.keys() & {"since", "until"}:
                raise Invalid(month="Give a month, or since and until")
            slug = given.get("tenant", "")
            zone = get_account(self.viewer, slug).time_zone if slug else "UTC"
            found = named_month(month, zone)
            return file_type, given | {"since": found.starts_at, "until": found.ends_at}
        start, end = read_range(given)
        return file_type, given | {"since": start, "until": end}


class ChargesDownloadView(StreamView):
    noun = "charges"

    @described("charges_download", StreamFilters)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Every charge of the range, oldest hour first, in one answer of any size.

        `X-Rows` and `X-Sums` say what will come, `X-Watermark` the newest charge in it.
        """
        file_type, given = self.of_month(StreamFilters)
        stream = begin(self.viewer, charge_filter(dict(given)))
        answer = self.streamed(request, file_type, given, pieces(self.viewer, stream, file_type))
        answer["X-Rows"], answer["X-Watermark"] = str(stream.rows), str(stream.newest)
        answer["X-Sums"] = sums_header(stream.sums)
        return answer


class UsageDownloadView(StreamView):
    noun = "usage"

    @described("usage_download", UsageStreamFilters)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Every usage hour of the range, oldest first, in one answer of any size.

        `X-Rows` says what will come; an hour that is summed up anew meanwhile has its new rows.
        """
        file_type, given = self.of_month(UsageStreamFilters)
        stream = begin_usage(self.viewer, usage_filter(dict(given)))
        parts = hour_pieces(self.viewer, stream, file_type)
        answer = self.streamed(request, file_type, given, parts)
        answer["X-Rows"] = str(stream.rows)
        return answer


class AllocationsDownloadView(StreamView):
    noun = "allocations"

    @described("allocations_download", AllocationStreamFilters)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Every share of the fleet's cost in the range, oldest hour first, in one answer.

        `X-Rows` and `X-Sums` say what will come; an hour that is attributed anew meanwhile has its
        new shares. A tenant's people get their own.
        """
        file_type, given = self.of_month(AllocationStreamFilters)
        tenant = given.get("tenant")
        only: dict[str, Any] = {name: given[name] for name in ("kind", "release") if name in given}
        if tenant:
            only["tenant_id"] = tenant_id_of(tenant)
        stream = begin_allocations(self.viewer, given["since"], given["until"], **only)
        parts = hour_pieces(self.viewer, stream, file_type)
        answer = self.streamed(request, file_type, given, parts)
        answer["X-Rows"], answer["X-Sums"] = str(stream.rows), sums_header(stream.sums)
        return answer


def hour_pieces(viewer: Viewer, stream: HourStream, file_type: str) -> Iterator[bytes]:
    """Each piece is read in a scope of its own: that of the request has ended by then."""
    yield head(file_type, stream.columns)
    for hours in stream.pieces(ROWS):
        with scope_of(viewer):
            found = rows_of(stream, hours)
        yield as_text(found, file_type, stream.columns)


def pieces(viewer: Viewer, stream: Stream, file_type: str) -> Iterator[bytes]:
    """Each piece is read in a scope of its own: that of the request has ended by then."""
    yield head(file_type)
    rows, after = ROWS, None
    while rows == ROWS:
        with scope_of(viewer):
            found = next_rows(viewer, stream, after, ROWS)
        rows, after = len(found), found[-1] if found else None
        yield as_text(found, file_type)
