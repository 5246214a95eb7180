"""Folders of files: exports, and requests that are dropped from the database.

A file has its name only when it is complete and on the disk.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
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


def no_check(_: Path, rows: int) -> None:
    """Nothing is asked of a file before it gets its name."""


class Folder:
    """`is_private`: what is made here is the worker's alone, files 0600 and folders 0700."""

    def __init__(self, root: Path, *, is_private: bool = False) -> None:
        self._root = root
        self._is_private = is_private

    def write(
        self,
        path: str,
        columns: Header,
        batches: Batches,
        *,
        check: Callable[[Path, int], None] = no_check,
    ) -> Stored:
        """Write a table in the form that the ending of `path` names, then give it that name.

        `columns` are names with their types. `check` looks at the file of so many rows before
        it has its name, and raises where it may not get it; an interrupted file leaves nothing.
        """
        count = 0

        def fill(half: Path) -> None:
            nonlocal count
            count = WRITERS[target.suffix](half, columns, batches)

        target = self._root / path
        digest, size = self._publish(target, fill, lambda half: check(half, count))
        return Stored(path, count, size, digest)

    def write_text(self, path: str, text: str) -> None:
        self._publish(self._root / path, lambda half: _write_text(half, text))

    def _publish(
        self,
        target: Path,
        fill: Callable[[Path], None],
        check: Callable[[Path], None] = lambda _: None,
    ) -> tuple[str, int]:
        self._make(target.parent)
        with temporary(target) as half:
            half.touch(mode=0o600 if self._is_private else 0o666)
            fill(half)
            with half.open("rb") as data:
                os.fsync(data.fileno())
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            check(half)
            size = half.stat().st_size
            half.replace(target)
        sync_folder(target.parent)
        return digest, size

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(mode=0o700 if self._is_private else 0o777, exist_ok=True)
        sync_folder(folder.parent)

    def need(self) -> None:
        """Raise where it is not there: a disk that is not mounted is not written beside."""
        if not self._root.is_dir():
            raise FileNotFoundError(f"there is no folder {self._root}: mount it or make it")

    def forget_halves(self, path: str) -> None:
        """Of writers of `path` that died. Nobody writes it now, says the caller."""
        target = self._root / path
        for half in target.parent.glob(f".{target.name}.*.part"):
            half.unlink(missing_ok=True)

    def forget(self, begins: str) -> None:
        """Files whose path begins so, and halves of them. Nobody needs or writes them now, says
        the caller."""
        target = self._root / begins
        name = escape(target.name)
        for pattern in (f"{name}*", f".{name}*.part"):
            for found in target.parent.glob(pattern):
                found.unlink(missing_ok=True)

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def place(self, path: str) -> Path:
        return self._root / path

    def digest(self, path: str) -> str:
        with (self._root / path).open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()


def sync_folder(folder: Path) -> None:
    """A name is on the disk once its folder is."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
