"""Sign models as the tool of the OpenSSF does: a statement of all files, in a Sigstore bundle."""

import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.registry.authority import BUNDLE, STATEMENT, Json, encoded, envelope_of

Key = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
HASHES: dict[int, HashAlgorithm] = {256: SHA256(), 384: SHA384(), 521: SHA512()}
FILE = "model.sig"
SIGNS = "https://model_signing/signature/v1.0"
IGNORED = [FILE, ".git", ".gitattributes", ".github", ".gitignore"]


def statement_of(name: str, files: Mapping[str, bytes]) -> Json:
    """Every file by its SHA-256, and one digest over all of these."""
    digests = {path: hashlib.sha256(body) for path, body in sorted(files.items()) if path != FILE}
    together = hashlib.sha256(b"".join(d.digest() for d in digests.values())).hexdigest()
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": together}}],
        "predicateType": SIGNS,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": IGNORED,
            },
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": digest.hexdigest()}
                for path, digest in digests.items()
            ],
        },
    }


def bundle_by_key(statement: Json, key: Key) -> Json:
    """With a key that verifiers know beforehand: the bundle names it by its digest."""
    payload = json.dumps(statement).encode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": envelope_of(payload, _signed(key, encoded(payload))),
    }


def _signed(key: Key, content: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(content)
    return key.sign(content, ec.ECDSA(HASHES[key.curve.key_size]))
