"""JSON as strict as money needs it, however much of it there is."""

import io
import json

import pytest
from rest_framework.exceptions import ParseError

from tenants.api.base.parsers import StrictJSONParser


def parse(raw):
    return StrictJSONParser().parse(io.BytesIO(raw))


@pytest.mark.timeout(30)
def test_one_key_that_stands_twice_among_many_is_found_at_once():
    """Each compared with each, of a body that is allowed, kept a process busy for hours."""
    many = {f"k{number}": number for number in range(200_000)}
    raw = json.dumps(many)[:-1].encode()
    assert parse(raw + b"}") == many
    with pytest.raises(ParseError, match="the key 'k7' stands twice"):
        parse(raw + b', "k7": 1}')
