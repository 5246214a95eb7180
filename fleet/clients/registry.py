"""A registry of the OCI distribution specification: what a tag means, and who signed it."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fleet.clients.errors import Permanent, Temporary
from fleet.clients.fetch import Fetch, Got
from fleet.rules.reference import ImageReference
from fleet.rules.signature import Signature

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = ", ".join(
    [
        INDEX,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNED_BY = "dev.cosignproject.cosign/signature"
LONGEST_MANIFEST = 4 * 1024 * 1024
LONGEST_PAYLOAD = 256 * 1024
LONGEST_TOKEN = 64 * 1024
MOST_SIGNATURES = 16
BUNDLES = "application/vnd.dev.sigstore.bundle"  # how the media types of all versions begin
ATTACHED = "application/vnd.dev.sigstore.bundle.v0.3+json"
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str  # of the bytes that came, whatever the registry calls them
    document: Mapping[str, Any]
    answer: Mapping[str, Any]  # for the record


class Registry:
    def __init__(self, base: str, name: str, fetch: Fetch, credential: str = "") -> None:
        self.base, self.name, self.fetch = base.rstrip("/"), name, fetch
        self.credential = credential  # "user:password", for the token or each request
        self.authorization = ""

    def resolve(self, wanted: ImageReference) -> Manifest:
        """Ask once what a tag means; a digest is asked for to see that it can be had."""
        return self._manifest(wanted.path, wanted.wanted, f"{wanted.repository}:{wanted.wanted}")

    def signatures(self, path: str, digest: str) -> list[Signature]:
        """As cosign keeps them: beside the image, under a tag made of its digest."""
        tag = digest.replace(":", "-") + ".sig"
        try:
            manifest = self._manifest(path, tag, f"{self.name}/{path}:{tag}")
        except Permanent as error:
            if error.status == 404:
                return []
            raise
        return list(self._payloads(path, manifest.document))

    def _payloads(self, path: str, document: Mapping[str, Any]) -> Iterator[Signature]:
        for layer in rows_of(document, "layers")[:MOST_SIGNATURES]:
            signature = (layer.get("annotations") or {}).get(SIGNED_BY)
            digest = str(layer.get("digest") or "")
            if layer.get("mediaType") != SIMPLE_SIGNING or not signature:
                continue
            if (body := self.blob(path, digest, LONGEST_PAYLOAD)) is not None:
                yield Signature(body, str(signature))

    def bundles(self, path: str, digest: str) -> list[bytes]:
        """Keyless signatures: bundles that refer to the image, as cosign attaches them."""
        found = []
        for row in self._referrers(path, digest):
            attached = str(row.get("digest") or "")
            what = f"{self.name}/{path}@{attached}"
            layers = rows_of(self._manifest(path, attached, what).document, "layers")
            bodies = [self.blob(path, str(r.get("digest")), LONGEST_PAYLOAD) for r in layers[:1]]
            found += [body for body in bodies if body]
        return found

    def _referrers(self, path: str, digest: str) -> list[dict[str, Any]]:
        """By the API of referrers, or by the tag that stands in for it."""
        query = urlencode({"artifactType": ATTACHED})
        got = self._get(path, f"referrers/{digest}?{query}", INDEX, LONGEST_MANIFEST)
        if got.status in (404, 405):
            tag = digest.replace(":", "-")
            got = self._get(path, f"manifests/{tag}", INDEX, LONGEST_MANIFEST)
        if got.status == 404:
            return []
        self._refused(got, f"{self.name}/{path}, what refers to {digest[:19]}")
        rows = rows_of(document_of(got.body, self.name), "manifests")
        kept = [r for r in rows if str(r.get("artifactType") or "").startswith(BUNDLES)]
        return kept[:MOST_SIGNATURES]

    def blob(self, path: str, digest: str, most: int) -> bytes | None:
        """None: the registry does not have it, or sends something else."""
        got = self._get(path, f"blobs/{digest}", "*/*", most)
        return got.body if got.status == 200 and digest_of(got.body) == digest else None

    def _manifest(self, path: str, reference: str, what: str) -> Manifest:
        got = self._get(path, f"manifests/{reference}", MANIFESTS, LONGEST_MANIFEST)
        self._refused(got, what)
        digest = digest_of(got.body)
        said = got.headers.get("docker-content-digest", "")
        if said and said != digest:
            raise Permanent(f"{self.name} calls {what} {said[:19]} and sends {digest[:19]}")
        if reference.startswith("sha256:") and reference != digest:
            raise Permanent(f"{self.name} sends {digest[:19]} for {what}")
        document = document_of(got.body, self.name)
        kind = str(document.get("mediaType") or got.headers.get("content-type", ""))
        answer = {
            "url": got.url,
            "media_type": kind[:120],
            "bytes": len(got.body),
            "platforms": platforms(document),
        }
        return Manifest(digest, document, answer)

    def _refused(self, got: Got, what: str) -> None:
        if got.status == 404:
            raise Permanent(f"{self.name} has no {what}", status=404)
        if got.status in (401, 403):
            raise Permanent(f"{self.name} does not show {what} to this console", status=got.status)
        if got.status == 429 or got.status >= 500:
            raise Temporary(f"{self.name} answers {got.status}: try again", status=got.status)
        if got.status != 200:
            raise Permanent(f"{self.name} answers {got.status} for {what}", status=got.status)

    def _get(self, path: str, rest: str, accept: str, most: int) -> Got:
        url = f"{self.base}/v2/{path}/{rest}"
        got = self.fetch.get(url, self._headers(accept), most)
        challenge = got.headers.get("www-authenticate", "")
        if got.status == 401 and challenge and not self.authorization:
            self.authorization = self._authorize(challenge)
            got = self.fetch.get(url, self._headers(accept), most)
        return got

    def _headers(self, accept: str) -> dict[str, str]:
        found = {"Accept": accept}
        return found | ({"Authorization": self.authorization} if self.authorization else {})

    def _authorize(self, challenge: str) -> str:
        basic = base64.b64encode(self.credential.encode()).decode() if self.credential else ""
        if challenge.lower().startswith("basic"):
            return f"Basic {basic}" if basic else ""
        said = dict(CHALLENGE.findall(challenge))
        realm = said.pop("realm", "")
        query = urlencode({k: v for k, v in said.items() if k in ("service", "scope")})
        headers = {"Authorization": f"Basic {basic}"} if basic else {}
        got = self.fetch.get(f"{realm}?{query}", headers, LONGEST_TOKEN)
        if got.status != 200:
            raise Permanent(f"{self.name} gives no token: it answers {got.status}", status=401)
        document = document_of(got.body, self.name)
        return f"Bearer {document.get('token') or document.get('access_token') or ''}"


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def document_of(body: bytes, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Permanent(f"{name} answers with what is no JSON") from error
    if not isinstance(found, dict):
        raise Permanent(f"{name} answers with what is no object")
    return found


def rows_of(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = document.get(name)
    return [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []


def platforms(document: Mapping[str, Any]) -> list[str]:
    """Of an index; of a single manifest none."""
    known = [r.get("platform") for r in rows_of(document, "manifests")]
    found = [p for p in known if isinstance(p, dict)]
    return sorted({f"{p.get('os', '?')}/{p.get('architecture', '?')}"[:40] for p in found})[:20]
