"""Files of requests: which a part has, and whether they are as they were recorded."""

import json
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from billing.clients.store import Folder
from billing.models import ArchivedPart, DroppedPart
from billing.queries.event_parts import event_parts
from tenants.rules.access import Permission, Viewer

MANIFEST = ".manifest.json"


def archive_folder() -> Folder | None:
    """None: requests are dropped without a file."""
    root = settings.QM_USAGE_ARCHIVE
    return Folder(root, is_private=True) if root else None


def newest_tries(parts: Iterable[str]) -> dict[str, ArchivedPart]:
    """By the name of a part."""
    found = ArchivedPart.objects.filter(part__in=list(parts))
    return {tried.part: tried for tried in found.order_by("part", "-id").distinct("part")}


def why_without_file(tried: ArchivedPart | None) -> str:
    """Why a part has no file that counts; empty: it has one."""
    if tried is None:
        return "its file is not written yet (QM_USAGE_ARCHIVE)"
    return f"its file could not be written: {tried.why}" if tried.why else ""


def fault_of_bytes(folder: Folder, file: str, sha256: str) -> str:
    """Empty: the file is there, with the bytes that were recorded, and its manifest says so."""
    if not folder.exists(file):
        return "is gone"
    if folder.digest(file) != sha256:
        return "has other bytes"
    try:
        with folder.open(f"{file}{MANIFEST}") as data:
            told = json.loads(data.read())
    except FileNotFoundError:
        return "has no manifest any more"
    except ValueError:
        return "has no manifest that can be read"
    return "" if told.get("sha256") == sha256 else "has the manifest of another file"


def dropped_with_files(since: datetime | None = None) -> list[DroppedPart]:
    """Parts that ended after `since`, the oldest first."""
    found = DroppedPart.objects.exclude(file="")
    return list((found.filter(ends_at__gt=since) if since else found).order_by("ends_at"))


def waiting_files() -> list[ArchivedPart]:
    """Of parts that are still there."""
    tries = newest_tries(part.name for part in event_parts()).values()
    return [tried for tried in tries if not tried.why]


def unwritten_files(viewer: Viewer) -> list[ArchivedPart]:
    """The newest tries that failed, of parts that are still there. None without an archive."""
    viewer.require(Permission.VIEW_MONEY)
    if not settings.QM_USAGE_ARCHIVE:
        return []
    tries = newest_tries(part.name for part in event_parts()).values()
    return sorted((tried for tried in tries if tried.why), key=lambda tried: tried.pk)
