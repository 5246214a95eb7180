"""Exported files and their manifests, byte by byte against what was recorded of them."""

import json
from decimal import Decimal

from django.conf import settings

from billing.clients.store import Folder
from billing.models import ExportArtifact
from billing.queries.sums import NAMED, Check


def file_checks() -> list[Check]:
    """Every file that was exported must be there, as it was when it got its name."""
    folder = Folder(settings.QM_EXPORTS_DIR)
    files: list[str] = []
    manifests: list[str] = []
    count = 0
    for artifact in ExportArtifact.objects.order_by("id").iterator():
        count += 1
        name = f"export {artifact.job_id}, {artifact.path}"
        if fault := _of_file(folder, artifact):
            files.append(f"{name} {fault}")
        if fault := _of_manifest(folder, artifact):
            manifests.append(f"{name}.manifest.json {fault}")
    return [
        _check("files exported = files that are as they were", count, files),
        _check("manifests beside files = manifests as they were recorded", count, manifests),
    ]


def _check(sentence: str, count: int, wrong: list[str]) -> Check:
    right = Decimal(count - len(wrong))
    return Check(sentence, Decimal(count), right, len(wrong), tuple(wrong[:NAMED]))


def _of_file(folder: Folder, artifact: ExportArtifact) -> str:
    if not folder.exists(artifact.path):
        return "is gone"
    return "has other bytes" if folder.digest(artifact.path) != artifact.sha256 else ""


def _of_manifest(folder: Folder, artifact: ExportArtifact) -> str:
    """Files from before manifests were recorded have none in their row."""
    if not artifact.manifest:
        return ""
    said = artifact.manifest
    if (said["sha256"], said["rows"], said["bytes"], said["sums"]) != (
        artifact.sha256,
        artifact.rows,
        artifact.bytes,
        artifact.sums,
    ):
        return "was recorded with other figures than its file"
    try:
        with folder.open(f"{artifact.path}.manifest.json") as file:
            found = json.loads(file.read())
    except FileNotFoundError:
        return "is gone"
    except ValueError:
        return "is no manifest any more"
    return "" if found == said else "says something else"
