"""The charges of a month, or of any range, as one stream."""

from collections.abc import Callable, Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from billing.api.exports import AnyAnswer
from billing.api.filters import ChargeFilters, charge_filter
from billing.queries.accounts import get_account
from billing.queries.charged import ChargeFilter
from billing.queries.money import named_month
from billing.queries.streams import Stream, begin, next_rows
from billing.rules.streams import MEDIA_TYPES, NDJSON, as_text, head, sums_header
from tenants.api.base.views import ConsoleView
from tenants.base.files import answer_stream
from tenants.base.scope import scope_of
from tenants.errors import Invalid
from tenants.rules.access import Viewer

ROWS = 5_000  # in memory at a time


class StreamFilters(ChargeFilters):
    month = serializers.RegexField(
        r"^\d{4}-\d\d$", required=False,
        help_text="2026-11, by the zone of the tenant's account, else UTC; instead of a range",
    )  # fmt: skip
    file_type = serializers.ChoiceField(tuple(MEDIA_TYPES), required=False, default=NDJSON)


described: Callable[[Any], Any] = extend_schema(
    operation_id="charges_download",
    parameters=[StreamFilters],
    responses={(200, kind): OpenApiTypes.BINARY for kind in MEDIA_TYPES.values()},
)


class ChargesDownloadView(ConsoleView):
    content_negotiation_class = AnyAnswer

    @described
    def get(self, request: Request) -> StreamingHttpResponse:
        """Every charge of the range, oldest hour first, in one answer of any size.

        `X-Rows` and `X-Sums` say what will come, `X-Watermark` the newest charge in it.
        """
        given = self.filters(StreamFilters)
        file_type = given.pop("file_type")
        stream = begin(self.viewer, self.wanted(given))
        answer = answer_stream(
            request._request,
            pieces(self.viewer, stream, file_type),
            filename=f"charges-{stream.wanted.start:%Y%m%d}-{stream.wanted.end:%Y%m%d}.{file_type}",
            content_type=MEDIA_TYPES[file_type],
        )
        answer["X-Rows"], answer["X-Watermark"] = str(stream.rows), str(stream.newest)
        answer["X-Sums"] = sums_header(stream.sums)
        return answer

    def wanted(self, given: dict[str, Any]) -> ChargeFilter:
        month = given.pop("month", "")
        if month:
            if given.keys() & {"since", "until"}:
                raise Invalid(month="Give a month, or since and until")
            slug = given.get("tenant", "")
            zone = get_account(self.viewer, slug).time_zone if slug else "UTC"
            found = named_month(month, zone)
            given |= {"since": found.starts_at, "until": found.ends_at}
        return charge_filter(given)


def pieces(viewer: Viewer, stream: Stream, file_type: str) -> Iterator[bytes]:
    """Each piece is read in a scope of its own: that of the request has ended by then."""
    yield head(file_type)
    rows, after = ROWS, None
    while rows == ROWS:
        with scope_of(viewer):
            found = next_rows(viewer, stream, after, ROWS)
        rows, after = len(found), found[-1] if found else None
        yield as_text(found, file_type)
