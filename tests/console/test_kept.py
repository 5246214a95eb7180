"""Settings of how long things stay: what stops the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from console.kept import Kept


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("QM_USAGE_MONTHS", "2", "3 months or more"),
        ("QM_USAGE_MONTHS", "-1", "greater than or equal to 0"),
        ("QM_USAGE_ARCHIVE", "archive", "the whole path"),
        ("QM_GPU_INTERVAL_DAYS", "62", "greater than or equal to 63"),
    ],
)
def test_a_wrong_value_stops_the_start(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        Kept()


def test_an_empty_archive_is_none_and_not_the_folder_of_the_process(monkeypatch):
    monkeypatch.setenv("QM_USAGE_ARCHIVE", "")
    assert Kept().qm_usage_archive is None
    monkeypatch.setenv("QM_USAGE_ARCHIVE", "/archive")
    assert Kept().qm_usage_archive == Path("/archive")
