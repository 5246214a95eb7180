"""Every file of requests, byte by byte and request by request, against what was recorded of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.clients.store import Folder
from billing.clients.tables import read_parquet
from billing.models import ArchivedPart, DroppedPart
from billing.queries.archive import dropped_with_files, fault_of_bytes, waiting_files
from billing.rules.archive import SUMS, Contents
from tenants.base.scope import fleet_scope


@dataclass(frozen=True, slots=True)
class Looked:
    """`fault` is empty where the file has the requests that its part had."""

    part: str
    file: str
    requests: int
    bytes: int
    is_dropped: bool
    fault: str


def check_files(folder: Folder, since: datetime | None = None) -> Iterator[Looked]:
    """Files of parts that were dropped, the oldest first, then of those that are still there."""
    with fleet_scope():
        gone = dropped_with_files(since)
        kept = waiting_files()
    for part in gone:
        said = part.file, part.file_sha256, part.sha256
        yield _look(folder, part, *said, is_dropped=True)
    for tried in kept:
        said = tried.file, tried.sha256, tried.content_sha256
        yield _look(folder, tried, *said, is_dropped=False)


def _look(
    folder: Folder,
    of: DroppedPart | ArchivedPart,
    file: str,
    sha256: str,
    content_sha256: str,
    *,
    is_dropped: bool,
) -> Looked:
    fault = fault_of_bytes(folder, file, sha256)
    if not fault:
        fault = _fault_of_contents(folder, file, content_sha256, {n: getattr(of, n) for n in SUMS})
    size = folder.place(file).stat().st_size if folder.exists(file) else 0
    return Looked(of.part, file, of.requests, size, is_dropped, fault)


def _fault_of_contents(folder: Folder, file: str, sha256: str, sums: dict[str, int]) -> str:
    contents = Contents()
    try:
        for columns in read_parquet(folder.place(file)):
            contents.take(columns)
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    if wrong := [n for n in SUMS if contents.sums[n] != sums[n]]:
        return "; ".join(f"has {contents.sums[n]:,} {n}, not {sums[n]:,}" for n in wrong)
    return "" if contents.sha256 == sha256 else "has other requests than the part had"
