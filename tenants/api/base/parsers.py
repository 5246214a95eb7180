"""JSON as strict as money needs it: no duplicate keys, no NaN, UTF-8 only."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read()
        if not raw:
            return {}
        try:
            return json.loads(
                raw.decode(), object_pairs_hook=unique_keys, parse_constant=no_constant
            )
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON that can be used: {error}") from error


class CloudEventsBatchParser(StrictJSONParser):
    media_type = "application/cloudevents-batch+json"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = min(key for key, number in Counter(k for k, _ in pairs).items() if number > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")
