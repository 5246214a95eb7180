"""Rows that are replaced by the hour, in pieces of whole hours: no transaction waits for a client.

An hour is read by one statement, so it is whole, and as it is then: one that is summed up or
attributed anew while the stream runs has its new rows, once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, QuerySet, Sum

from billing.queries.economics import list_allocations
from billing.queries.requests import UsageFilter, list_hours
from billing.rules.streams import ALLOCATION_COLUMNS, USAGE_COLUMNS
from tenants.rules.access import Viewer

OF_POOLS = {
    name: F(f"pool__{name}")
    for name in ("cluster", "node_pool", "capacity", "profile", "product", "state")
} | {name: F(f"pool__run__{name}") for name in ("currency", "method")}


@dataclass(frozen=True, slots=True)
class HourStream:
    """What will be read, as it stood when it began."""

    columns: Sequence[str]
    read: Callable[[], QuerySet[Any]]
    hours: Sequence[tuple[datetime, int]]  # the oldest first, with its rows
    sums: dict[str, Decimal]  # by currency

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.hours)

    def pieces(self, most: int) -> Iterator[list[datetime]]:
        """Hours that have about so many rows together; one hour at least."""
        piece: list[datetime] = []
        size = 0
        for hour, rows in self.hours:
            if piece and size + rows > most:
                yield piece
                piece, size = [], 0
            piece.append(hour)
            size += rows
        if piece:
            yield piece


def begin_usage(viewer: Viewer, wanted: UsageFilter) -> HourStream:
    def read() -> QuerySet[Any]:
        return list_hours(viewer, wanted)

    return HourStream(USAGE_COLUMNS, read, _hours(read()), {})


def begin_allocations(viewer: Viewer, start: datetime, end: datetime, **only: Any) -> HourStream:
    """`only`: as `list_allocations` narrows them."""

    def read() -> QuerySet[Any]:
        return (
            list_allocations(viewer, start, end, **only).select_related(None).annotate(**OF_POOLS)
        )

    sums = read().order_by().values_list("currency").annotate(Sum("amount"))
    return HourStream(ALLOCATION_COLUMNS, read, _hours(read()), dict(sums))


def _hours(rows: QuerySet[Any]) -> list[tuple[datetime, int]]:
    return list(rows.order_by("hour").values_list("hour").annotate(Count("id")))


def rows_of(stream: HourStream, hours: Sequence[datetime]) -> list[dict[str, Any]]:
    found = stream.read().filter(hour__in=hours).order_by("hour", "id")
    return list(found.values(*stream.columns))
