"""The schema of the REST API that is kept in the tree."""

from pathlib import Path

import pytest
from django.core.management import call_command
from rest_framework.serializers import Serializer

KEPT = Path(__file__).resolve().parents[2] / "docs" / "api" / "openapi.yaml"


@pytest.fixture(scope="module")
def schema(tmp_path_factory) -> str:
    """Made anew; a warning of the generator is an error here."""
    path = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(path))
    return path.read_text()


def test_it_is_kept_current(schema: str):
    assert schema == KEPT.read_text(), "Run `make schema` and commit what it writes"


def test_it_is_openapi_31(schema: str):
    assert schema.startswith("openapi: 3.1")


def all_serializers(kind=Serializer):
    for one in kind.__subclasses__():
        yield one
        yield from all_serializers(one)


def test_what_may_be_null_says_so(schema: str):
    """Some values are null in a month's first hours alone, when no answer is compared."""
    silent = [
        f"{one.__name__}.{name}"
        for one in all_serializers()
        if one.__module__.split(".")[0] in ("billing", "fleet", "tenants")
        for name, field in getattr(one, "_declared_fields", {}).items()
        if field.default is None and not field.allow_null
    ]
    assert silent == []
