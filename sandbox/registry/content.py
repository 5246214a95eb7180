"""What the small registry and model repository hold: documents by digest, tag and branch."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from sandbox.engines import tiny_model
from sandbox.engines.images import CATALOGUE, MANIFEST, REGISTRY, CatalogueImage, oci_manifest
from sandbox.registry.authority import BUNDLE, Authority
from sandbox.registry.model_signing import FILE, statement_of

# Whom the sandbox's authority knows: the build of the images, and who makes the models.
ISSUER = "https://issuer.sandbox.invalid"
IDENTITY = "https://sandbox.invalid/vllm/build.yml@refs/heads/main"
MAKER = "https://sandbox.invalid/models/train.yml@refs/heads/main"
POINTER = 125  # bytes, without the digits of the size
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass
class Content:
    """`manifests`: (repository, tag or digest) to (media type, bytes)."""

    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)  # name, commit, path
    # (repository, digest) to descriptors of what refers to it; None: it has no such API
    referrers: dict[tuple[str, str], list[dict[str, Any]]] | None = field(default_factory=dict)

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

    def attach(self, repo: str, digest: str, bundle: dict[str, Any]) -> None:
        """As `cosign sign` does without a key: an artifact that refers to the image."""
        body = json.dumps(bundle).encode()
        self.blobs[digest_of(body)] = body
        layer = {"mediaType": BUNDLE, "size": len(body), "digest": digest_of(body)}
        manifest = oci_manifest([layer], {}, artifactType=BUNDLE)
        kept = self.put_image(repo, digest_of(manifest), manifest)
        descriptor = {"mediaType": MANIFEST, "artifactType": BUNDLE, "digest": kept}
        if self.referrers is not None:
            rows = self.referrers.setdefault((repo, digest), [])
            rows.append(descriptor | {"size": len(manifest)})

    def put_artifact(self, repo: str, tag: str, files: dict[str, bytes]) -> str:
        """A model as an artifact: a layer for each file, named by an annotation."""
        layers = []
        for path, body in sorted(files.items()):
            self.blobs[digest_of(body)] = body
            layers.append(
                {
                    "mediaType": "application/vnd.cncf.model.weight.v1.raw",
                    "size": len(body),
                    "digest": digest_of(body),
                    "annotations": {"org.cncf.model.filepath": path},
                }
            )
        model = "application/vnd.cncf.model.manifest.v1+json"
        return self.put_image(repo, tag, oci_manifest(layers, {}, artifactType=model))

    def put_model(self, name: str, branch: str, files: dict[str, bytes]) -> str:
        """Commit files to a branch; the commit is a digest of all of them.

        A signature is made anew with each start, and does not move the commit.
        """
        whole = hashlib.sha1(usedforsecurity=False)
        for path, body in sorted(files.items()):
            if path != FILE:
                whole.update(f"{path}\0{len(body)}\0".encode() + body)
        commit = whole.hexdigest()
        self.files |= {(name, commit, path): body for path, body in files.items()}
        siblings = [
            {"rfilename": path, "size": len(body), "blobId": blob_id(body)} | large(path, body)
            for path, body in sorted(files.items())
        ]
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


def large(path: str, body: bytes) -> dict[str, Any]:
    """What a hub tells of files that it keeps apart from git."""
    if not path.endswith(".safetensors"):
        return {}
    sha, size = hashlib.sha256(body).hexdigest(), len(body)
    # git keeps a text of three lines in its place: a version, the digest, the size.
    return {"lfs": {"sha256": sha, "size": size, "pointerSize": POINTER + len(str(size))}}


def blob_id(body: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()


def catalogue() -> Content:
    """The images that the sandbox's nodes can pull, and the tiny model in both of its forms.

    `sandbox/tiny-unsigned` is the same model, which nobody signs.
    """
    found = Content()
    for image in CATALOGUE.values():
        found.put_image(repo_of(image), image.tag, image.manifest())
    found.put_model("sandbox/tiny", "main", tiny())
    found.put_model("sandbox/tiny-unsigned", "main", tiny())
    found.put_artifact("models/tiny", "1", tiny())
    return found


def tiny() -> dict[str, bytes]:
    return {path: text.encode() for path, text in tiny_model.files().items()}


def sign_all(content: Content, authority: Authority, at: datetime) -> None:
    """As the build does that makes the images; what is broken on purpose, it never signed.

    The tiny model is signed by who made it: beside its files, and as an artifact.
    """
    for image in CATALOGUE.values():
        if not image.faulty:
            content.attach(
                repo_of(image), image.digest, authority.bundle(image.digest, IDENTITY, ISSUER, at)
            )
    digest = digest_of(content.manifests["models/tiny", "1"][1])
    content.attach("models/tiny", digest, authority.bundle(digest, MAKER, ISSUER, at))
    signed = authority.bundle_of(statement_of("tiny", tiny()), MAKER, ISSUER, at)
    content.put_model("sandbox/tiny", "main", tiny() | {FILE: json.dumps(signed).encode()})


def repo_of(image: CatalogueImage) -> str:
    return image.repo.removeprefix(f"{REGISTRY}/")
