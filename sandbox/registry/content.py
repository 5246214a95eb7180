"""What the small registry and model repository hold: documents by digest, tag and branch."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from sandbox.engines import tiny_model
from sandbox.engines.images import CATALOGUE, MANIFEST, REGISTRY, oci_manifest

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass
class Content:
    """`manifests`: (repository, tag or digest) to (media type, bytes)."""

    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)  # name, commit, path

    def put_image(self, repo: str, tag: str, body: bytes, kind: str = MANIFEST) -> str:
        """Point a tag at a manifest, which is kept under its digest for ever."""
        digest = digest_of(body)
        self.manifests[repo, tag] = self.manifests[repo, digest] = (kind, body)
        return digest

    def sign(self, repo: str, digest: str, key: ec.EllipticCurvePrivateKey) -> None:
        """As `cosign sign --key` does: a payload beside the image, under a tag of its digest."""
        payload = payload_of(repo, digest)
        signature = base64.b64encode(key.sign(payload, ec.ECDSA(SHA256()))).decode()
        self.blobs[digest_of(payload)] = payload
        layer = {
            "mediaType": SIMPLE_SIGNING,
            "size": len(payload),
            "digest": digest_of(payload),
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        }
        self.put_image(repo, digest.replace(":", "-") + ".sig", oci_manifest([layer], {}))

    def put_model(self, name: str, branch: str, files: dict[str, bytes]) -> str:
        """Commit files to a branch; the commit is a digest of all of them."""
        whole = hashlib.sha1(usedforsecurity=False)
        for path, body in sorted(files.items()):
            whole.update(f"{path}\0{len(body)}\0".encode() + body)
        commit = whole.hexdigest()
        self.files |= {(name, commit, path): body for path, body in files.items()}
        siblings = [{"rfilename": path, "size": len(body)} for path, body in sorted(files.items())]
        document = {"id": name, "sha": commit, "siblings": siblings}
        self.revisions[name, branch] = self.revisions[name, commit] = document
        return commit


def payload_of(repo: str, digest: str) -> bytes:
    critical = {
        "identity": {"docker-reference": repo},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def catalogue() -> Content:
    """The images that the sandbox's nodes can pull, and the tiny model on its branch main."""
    found = Content()
    for image in CATALOGUE.values():
        repo = image.repo.removeprefix(f"{REGISTRY}/")
        found.put_image(repo, image.tag, image.manifest())
    files = {path: text.encode() for path, text in tiny_model.files().items()}
    found.put_model("sandbox/tiny", "main", files)
    return found
