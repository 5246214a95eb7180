"""The folder of exports. A file has its name only when it is complete and on the disk."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from billing.clients.tables import (
    Batches,
    Header,
    TooManyRows,
    write_csv,
    write_parquet,
    write_xlsx,
)

__all__ = ["Folder", "Stored", "TooManyRows"]


@dataclass(frozen=True, slots=True)
class Stored:
    path: str  # relative to the folder
    rows: int
    bytes: int
    sha256: str


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, columns: Header, batches: Batches) -> Stored:
        """Write a table in the form that the ending of `path` names, then give it that name.

        `columns` are names with their types; an interrupted file leaves nothing behind.
        """
        count = 0

        def fill(half: Path) -> None:
            nonlocal count
            count = WRITERS[target.suffix](half, columns, batches)

        target = self._root / path
        digest, size = self._publish(target, fill)
        return Stored(path, count, size, digest)

    def write_text(self, path: str, text: str) -> None:
        self._publish(self._root / path, lambda half: _write_text(half, text))

    def _publish(self, target: Path, fill: Callable[[Path], None]) -> tuple[str, int]:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target) as half:
            fill(half)
            with half.open("rb") as data:
                os.fsync(data.fileno())
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            size = half.stat().st_size
            half.replace(target)
        return digest, size

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def place(self, path: str) -> Path:
        return self._root / path

    def digest(self, path: str) -> str:
        with (self._root / path).open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


WRITERS = {".csv": write_csv, ".parquet": write_parquet, ".xlsx": write_xlsx}


@contextmanager
def temporary(target: Path) -> Iterator[Path]:
    half = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield half
    finally:
        half.unlink(missing_ok=True)
