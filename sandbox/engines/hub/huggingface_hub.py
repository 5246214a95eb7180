"""The client of a model hub in small: it brings one commit into a cache, laid out as the real one.

cache/models--ORG--NAME/blobs/ETAG, cache/models--ORG--NAME/snapshots/COMMIT/PATH -> blob
"""

import fnmatch
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class HfHubHTTPError(OSError):
    """The hub answered with an error."""


class RepositoryNotFoundError(HfHubHTTPError):
    """No such repository, or not for this token."""


class RevisionNotFoundError(HfHubHTTPError):
    """No such commit."""


def _open(path: str, timeout: float | None = None) -> Any:
    request = urllib.request.Request(os.environ["HF_ENDPOINT"] + path)
    if token := os.environ.get("HF_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(request, timeout=timeout or 30)
    except urllib.error.HTTPError as error:
        said = error.headers.get("X-Error-Code", "")
        if said == "RevisionNotFound":
            raise RevisionNotFoundError(f"404: no such revision: {path}") from error
        if said == "RepoNotFound" or error.code in (401, 403):
            raise RepositoryNotFoundError(f"{error.code}: {path}") from error
        raise HfHubHTTPError(f"{error.code}: {path}") from error


class HfApi:
    def model_info(self, repo_id: str, *, revision: str, timeout: float | None = None) -> Any:
        with _open(f"/api/models/{repo_id}/revision/{revision}", timeout) as answer:
            return json.load(answer)


def snapshot_download(
    repo_id: str,
    *,
    revision: str,
    cache_dir: str,
    ignore_patterns: Sequence[str] | None = None,
) -> str:
    """The folder of the snapshot, all of its files there."""
    home = Path(cache_dir) / f"models--{repo_id.replace('/', '--')}"
    folder = home / "snapshots" / revision
    for sibling in HfApi().model_info(repo_id, revision=revision)["siblings"]:
        path = sibling["rfilename"]
        if not any(fnmatch.fnmatch(path, pattern) for pattern in ignore_patterns or ()):
            _bring(repo_id, revision, path, home, folder / path)
    return str(folder)


def _bring(repo_id: str, revision: str, path: str, home: Path, file: Path) -> None:
    if file.exists():
        return
    with _open(f"/{repo_id}/resolve/{revision}/{path}") as answer:
        blob = home / "blobs" / answer.headers["ETag"].strip('"')
        body = answer.read()
    for folder in (blob.parent, file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    part = blob.with_suffix(f".{os.getpid()}.incomplete")
    part.write_bytes(body)
    part.replace(blob)
    file.symlink_to(os.path.relpath(blob, file.parent))
