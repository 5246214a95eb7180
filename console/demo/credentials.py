"""The file that keeps what the console itself does not keep: secrets that are shown once."""

import json
import os
from pathlib import Path
from typing import Any

Credentials = dict[str, Any]


def read(path: Path) -> Credentials:
    try:
        document: Credentials = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return document


def write(path: Path, document: Credentials) -> None:
    """For this user only, and whole."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
