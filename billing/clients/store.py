"""The folder of exports. A file has its name only when it is complete and on the disk."""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Stored:
    path: str  # relative to the folder
    rows: int
    bytes: int
    sha256: str


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write_csv(self, path: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Stored:
        """Write under a temporary name, then give it its own; an interrupted one leaves none."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target) as half:
            with half.open("w", newline="", encoding="utf-8") as out:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(header)
                count = 0
                for row in rows:
                    writer.writerow(row)
                    count += 1
                out.flush()
                os.fsync(out.fileno())
            with half.open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            size = half.stat().st_size
            half.replace(target)
        return Stored(path, count, size, digest)

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def digest(self, path: str) -> str:
        with (self._root / path).open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()


@contextmanager
def temporary(target: Path) -> Iterator[Path]:
    half = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield half
    finally:
        half.unlink(missing_ok=True)
