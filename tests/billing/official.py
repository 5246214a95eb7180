"""The official FOCUS validator, on a file as it was downloaded."""

from pathlib import Path

import pytest

from sandbox.quality import focus


def validated(folder: Path, artifact, data: bytes):
    """What it says of the file; where it cannot run, the test is skipped with the reason."""
    file = folder / artifact.filename
    file.write_bytes(data)
    try:
        return focus.validate(file)
    except focus.CannotRun as reason:
        pytest.skip(str(reason))
