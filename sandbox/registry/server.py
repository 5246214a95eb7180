"""HTTP of the small registry and model repository: the standard library, loopback, read only."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sandbox.engines.images import MANIFEST
from sandbox.registry.content import Content, blob_id, digest_of

MANIFESTS = re.compile(r"/v2/(?P<repo>[\w./-]+)/manifests/(?P<reference>[\w.:-]+)")
BLOBS = re.compile(r"/v2/(?P<repo>[\w./-]+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
REFERRERS = re.compile(r"/v2/(?P<repo>[\w./-]+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")
INDEX = "application/vnd.oci.image.index.v1+json"
REVISIONS = re.compile(r"/api/models/(?P<name>[\w.-]+/[\w.-]+)/revision/(?P<revision>[\w./%-]+)")
TREES = re.compile(r"/api/models/(?P<name>[\w.-]+/[\w.-]+)/tree/(?P<commit>[0-9a-f]{40})")
FILES = re.compile(
    r"/(?P<name>[\w.-]+/[\w.-]+)/resolve/(?P<commit>[0-9a-f]{40})/(?P<path>[\w./-]+)"
)


class Server(ThreadingHTTPServer):
    """`token`: what a client must fetch from /token first; empty: everybody may read."""

    daemon_threads = True

    def __init__(self, content: Content, port: int = 0, token: str = "") -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.content, self.token = content, token
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path == "/token":
            self._json({"token": self.server.token})
        elif path.startswith("/v2/") and not self._known():
            self._challenge()
        else:
            self._document(path)

    do_HEAD = do_GET

    def _known(self) -> bool:
        token = self.server.token
        return not token or self.headers.get("Authorization") == f"Bearer {token}"

    def _challenge(self) -> None:
        realm = f'Bearer realm="{self.server.url}/token",service="sandbox",scope="pull"'
        self._send(401, b"{}", "application/json", {"WWW-Authenticate": realm})

    def _document(self, path: str) -> None:
        content = self.server.content
        if found := MANIFESTS.fullmatch(path):
            kind, body = content.manifests.get((found["repo"], found["reference"]), (MANIFEST, b""))
            self._or_not(body, kind, {"Docker-Content-Digest": digest_of(body)} if body else {})
        elif found := BLOBS.fullmatch(path):
            self._or_not(content.blobs.get(found["digest"], b""), "application/octet-stream")
        elif content.referrers is not None and (found := REFERRERS.fullmatch(path)):
            rows = content.referrers.get((found["repo"], found["digest"]), [])
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}
            self._send(200, json.dumps(index).encode(), INDEX, {})
        elif found := REVISIONS.fullmatch(path):
            name, revision = found["name"], found["revision"].replace("%2F", "/")
            document = content.revisions.get((name, revision))
            known = any(name == model for model, _ in content.revisions)
            code = {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"}
            body = json.dumps(document).encode() if document else b""
            self._or_not(body, "application/json", {} if document else code)
        elif found := TREES.fullmatch(path):
            document = content.revisions.get((found["name"], found["commit"]))
            body = json.dumps(tree_of(document)).encode() if document else b""
            self._or_not(body, "application/json")
        elif found := FILES.fullmatch(path):
            key = (found["name"], found["commit"], found["path"])
            body = content.files.get(key, b"")
            told = {"ETag": f'"{blob_id(body)}"', "X-Repo-Commit": found["commit"]}
            self._or_not(body, "application/json", told if body else {})
        elif path == "/v2/":
            self._json({})
        else:
            self._or_not(b"", "")

    def _or_not(self, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        if body:
            self._send(200, body, kind, headers or {})
        else:
            body = b'{"errors": [{"code": "NOT_FOUND"}]}'
            self._send(404, body, "application/json", headers or {})

    def _json(self, document: Any) -> None:
        self._send(200, json.dumps(document).encode(), "application/json", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Type": kind}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what was asked is in `asked`."""


def tree_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The same files as another of the hub's questions lists them."""
    return [
        {"type": "file", "path": f["rfilename"], "size": f["size"], "oid": f["blobId"]}
        for f in document["siblings"]
    ]
