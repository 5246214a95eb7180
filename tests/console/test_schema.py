"""The schema of the REST API that is kept in the tree."""

from pathlib import Path

import pytest
from django.core.management import call_command

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
