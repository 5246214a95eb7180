"""Cursor pages: each begins where the last one ended, by every member of the ordering.

DRF's own cursor holds the first member and counts rows beyond it, at most a thousand: of an hour
with more charges than that it would give the same ones again and again.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from tenants.errors import Invalid

LONGEST_CURSOR = 1_000  # characters
COUNT = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Place:
    """A row, by the values that order it; the page is what follows it, or what comes before."""

    values: tuple[str, ...]
    is_before: bool = False

    def as_text(self) -> str:
        return urlsafe_b64encode(json.dumps([self.is_before, *self.values]).encode()).decode()


def read_place(text: str, size: int) -> Place:
    """Raise `ValueError` for what `as_text` has not written."""
    found = json.loads(urlsafe_b64decode(text[:LONGEST_CURSOR].encode("ascii")))
    if not (isinstance(found, list) and len(found) == size + 1 and isinstance(found[0], bool)):
        raise ValueError("no place")
    if not all(isinstance(value, str) and "\x00" not in value for value in found[1:]):
        raise ValueError("no place")
    return Place(tuple(found[1:]), found[0])


class Pages(CursorPagination):
    """Newest first, over an ordering that is unique and never null."""

    ordering: str | tuple[str, ...] = "-id"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.base_url: str = request.build_absolute_uri()
        size = self.get_page_size(request)
        names = (self.ordering,) if isinstance(self.ordering, str) else self.ordering
        place = self.place_of(request, len(names))
        is_before = place is not None and place.is_before
        try:
            found = self.rows_beyond(queryset, names, place, size + 1)
        except (ValidationError, ValueError, OverflowError) as error:
            raise NotFound(self.invalid_cursor_message) from error
        page, is_more = found[:size], len(found) > size
        if is_before:
            page.reverse()
        self.has_next = bool(page) and (is_before or is_more)
        self.has_previous = bool(page) and (is_more if is_before else place is not None)
        if page:
            self.first = Place(self.values_of(page[0], names), is_before=True)
            self.last = Place(self.values_of(page[-1], names))
        return page

    def get_page_size(self, request: Request) -> int:
        """Who wrote `limit=1OO` is told so: a page of another size would pass for all there is."""
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        if not COUNT.fullmatch(text):
            raise Invalid(limit=f"A number of rows, 1 to {self.max_page_size:,}: not {text[:20]!r}")
        return min(int(text), self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for one in parameters:
            if one["name"] == self.page_size_query_param:
                one["description"] = (
                    f"Rows of a page: {self.page_size}, at most {self.max_page_size}"
                )
                one["schema"] = {"type": "integer", "minimum": 1}
        return parameters

    def place_of(self, request: Request, size: int) -> Place | None:
        text = request.query_params.get(self.cursor_query_param)
        if text is None:
            return None
        try:
            return read_place(text, size)
        except (ValueError, RecursionError) as error:
            raise NotFound(self.invalid_cursor_message) from error

    def rows_beyond(
        self, rows: Any, names: Sequence[str], place: Place | None, most: int
    ) -> list[Any]:
        if place is None:
            return list(rows.order_by(*names)[:most])
        if place.is_before:
            names = [turned(name) for name in names]
        model = rows.model._meta
        values = [
            model.get_field(name.lstrip("-")).to_python(text)
            for name, text in zip(names, place.values, strict=True)
        ]
        return list(rows.filter(beyond(names, values)).order_by(*names)[:most])

    def values_of(self, row: Any, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(str(getattr(row, name.lstrip("-"))) for name in names)

    def get_next_link(self) -> str | None:
        return self.link_to(self.last) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self.link_to(self.first) if self.has_previous else None

    def link_to(self, place: Place) -> str:
        link: str = replace_query_param(self.base_url, self.cursor_query_param, place.as_text())
        return link


def turned(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"


def beyond(names: Sequence[str], values: Sequence[Any]) -> Q:
    """What comes after these values. The first member is said apart, for an index to begin at."""
    (name, *others), (value, *more) = names, values
    field, order = name.lstrip("-"), "lt" if name.startswith("-") else "gt"
    after = Q(**{f"{field}__{order}": value})
    if not others:
        return after
    return Q(**{f"{field}__{order}e": value}) & (after | beyond(others, more))


class ListPages(Pages):
    """Of rows in memory, in the order of a text that `key` makes of each and that it alone has."""

    is_descending = False
    ordering = "key"

    def key(self, row: Any) -> str:
        raise NotImplementedError

    def rows_beyond(
        self, rows: Any, names: Sequence[str], place: Place | None, most: int
    ) -> list[Any]:
        is_before = place is not None and place.is_before
        is_down = self.is_descending != is_before
        if place is not None:
            at = place.values[0]
            rows = [row for row in rows if (self.key(row) < at if is_down else self.key(row) > at)]
        return sorted(rows, key=self.key, reverse=is_down)[:most]

    def values_of(self, row: Any, names: Sequence[str]) -> tuple[str, ...]:
        return (self.key(row),)
