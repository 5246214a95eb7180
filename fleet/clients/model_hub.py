"""A repository of models that speaks the API of the well-known hub: what a branch means."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fleet.clients.errors import Permanent, Temporary
from fleet.clients.fetch import Fetch, Got
from fleet.clients.registry import document_of, rows_of
from fleet.rules.artifacts import READ
from fleet.rules.model_signature import FILE, SignedFiles, is_beside

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST = 4 * 1024 * 1024
LONGEST_SMALL = 16 * 1024 * 1024  # hubs keep larger files apart, and tell their SHA-256
MOST_SMALL = 200


@dataclass(frozen=True, slots=True)
class Revision:
    commit: str
    licence: str
    weight_bytes: int  # 0: sizes are not told
    files: Mapping[str, str]  # digest of the content by path; empty where none is told
    answer: Mapping[str, Any]  # for the record


class ModelHub:
    def __init__(self, base: str, fetch: Fetch, token: str = "") -> None:
        self.base, self.fetch = base.rstrip("/"), fetch
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def resolve(self, name: str, revision: str) -> Revision:
        """Ask once which commit a branch or tag is, and what lies there."""
        url = f"{self.base}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
        got = self.fetch.get(url, self.headers, LONGEST)
        self._refused(got, f"{name} at {revision}")
        document = document_of(got.body, "The model repository")
        commit = str(document.get("sha") or "")
        if not COMMIT.fullmatch(commit):
            raise Permanent(f"The model repository names no commit of {name} at {revision}")
        files = rows_of(document, "siblings")
        card = document.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else ""
        answer = {"url": url, "files": len(files), "modified": document.get("lastModified", "")}
        return Revision(commit, str(licence or "")[:64], weights(files), digests(files), answer)

    def contents(self, name: str, commit: str, files: Mapping[str, str]) -> dict[str, bytes]:
        """The small files that say what a model is made of, at its commit."""
        found = {}
        for path in READ:
            if files and path not in files:
                continue
            body = self._file(name, commit, path, LONGEST)
            if body is not None:  # a closed repository may show its branches and no files
                found[path] = body
        return found

    def signed(self, name: str, commit: str, files: Mapping[str, str]) -> SignedFiles | None:
        """Its signature with what it has to be compared with; None: there is none.

        Repositories tell the SHA-256 of large files only: the small ones are read.
        """
        if FILE not in files:
            return None
        got = self._file(name, commit, FILE, LONGEST)
        if got is None:
            return None
        large = {p: d for p, d in files.items() if SHA256.fullmatch(d)}
        small = [p for p in files if p not in large and not is_beside(p)]
        read = {p: self._sha256(name, commit, p, files[p]) for p in small[:MOST_SMALL]}
        return SignedFiles(got, large | dict.fromkeys(small, "") | read)

    def _sha256(self, name: str, commit: str, path: str, blob: str) -> str:
        """Of a small file. Empty: git's name of it is not told, or the file cannot be had."""
        if not COMMIT.fullmatch(blob):
            return ""
        try:
            body = self._file(name, commit, path, LONGEST_SMALL)
        except Permanent:  # too large, or at an address that may not be asked
            return ""
        if body is None:
            return ""
        if blob_id(body) != blob:
            raise Permanent(f"The model repository sends another {path} than {commit[:12]} has")
        return hashlib.sha256(body).hexdigest()

    def _file(self, name: str, commit: str, path: str, most: int) -> bytes | None:
        url = f"{self.base}/{name}/resolve/{commit}/{quote(path)}"
        got = self.fetch.get(url, self.headers, most)
        return got.body if got.status == 200 else None

    def _refused(self, got: Got, what: str) -> None:
        if got.status == 404:
            raise Permanent(f"The model repository has no {what}", status=404)
        if got.status in (401, 403):
            raise Permanent(f"The model repository does not show {what} to this console")
        if got.status != 200:
            raise Temporary(f"The model repository answers {got.status}: try again")


def weights(files: list[dict[str, Any]]) -> int:
    """Bytes of all files of weights in the format that vLLM prefers."""
    sizes = [f.get("size") for f in files if str(f.get("rfilename")).endswith(".safetensors")]
    return sum(size for size in sizes if isinstance(size, int))


def digests(files: list[dict[str, Any]]) -> dict[str, str]:
    """By path: of large files their SHA-256, of small ones what git calls them."""
    found = {}
    for file in files:
        large = file.get("lfs")
        known = large.get("sha256") if isinstance(large, dict) else file.get("blobId")
        found[str(file.get("rfilename"))] = str(known or "")
    return found


def blob_id(body: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
