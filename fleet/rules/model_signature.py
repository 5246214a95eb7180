"""Models as the OpenSSF signs them: a statement of the digests of all files, in a signed envelope.

The file `model.sig` beside the weights is a Sigstore bundle around an envelope (DSSE), with either
a certificate of an identity (see `fleet.rules.keyless`) or a key that is known beforehand.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fleet.rules.keyless import IN_TOTO
from fleet.rules.signature import Finding, Signed, refuse_ended

FILE = "model.sig"
STATEMENT = "https://in-toto.io/Statement/v1"
SIGNS = "https://model_signing/signature/v1.0"
SIGNED_BEFORE = "https://model_signing/Digests/v0.1"  # by tools before 1.0
CURVES: Mapping[str, HashAlgorithm] = {
    "secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()
}  # fmt: skip
# No engine reads them, and signing tools leave them out.
BESIDE = frozenset([FILE, ".gitattributes", ".gitignore"])
BESIDE_IN = (".git/", ".github/")
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
NAMED = 5  # files that a sentence names


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """A model's own signature, and the SHA-256 (hex) of each file there by path; "": not told."""

    signature: bytes
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is signed, not believed yet. `hint`: digest of the key that made it, as it says."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    hint: str
    keyless: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signer says of a model: its name, and the SHA-256 (hex) of each file by path."""

    name: str
    files: Mapping[str, str]


def read_envelope(raw: bytes) -> Envelope:
    """Raise ValueError with a sentence where the bytes are no bundle around an envelope."""
    try:
        bundle: Any = json.loads(raw)
        said, within = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        return Envelope(
            payload_type=str(within["payloadType"]),
            payload=base64.b64decode(within["payload"], validate=True),
            signatures=tuple(
                base64.b64decode(s["sig"], validate=True) for s in within["signatures"]
            ),
            hint=str((said.get("publicKey") or {}).get("hint") or ""),
            keyless=bool(said.get("certificate") or said.get("x509CertificateChain")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"{FILE} is no bundle around a signed statement") from error


def read_statement(payload_type: str, payload: bytes) -> Statement:
    """Raise ValueError with a sentence where what is signed is no list of a model's files."""
    if payload_type != IN_TOTO:
        raise ValueError(f"it signs a payload of the kind {payload_type[:60]}")
    try:
        document: Any = json.loads(payload)
        kind = str(document["predicateType"])
        if document["_type"] != STATEMENT:
            raise ValueError(f"it signs a statement of the kind {str(document['_type'])[:60]}")
        if kind == SIGNS:
            return _present(document)
        if kind == SIGNED_BEFORE:
            return Statement("", _once((s["name"], _digest_before(s)) for s in document["subject"]))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError("it signs no list of files") from error
    raise ValueError(f"it attests {kind[:80]}, which is no signature of a model")


def _present(document: Mapping[str, Any]) -> Statement:
    """Of the version 1.0: one digest over those of all files holds them together."""
    resources, how = document["predicate"]["resources"], document["predicate"]["serialization"]
    if how["method"] != "files":
        raise ValueError(
            f"it signs {how['method']}: sign whole files, so that they can be compared"
        )
    for row in resources:
        if row["algorithm"] != "sha256":
            raise ValueError(
                f"its digests are {str(row['algorithm'])[:20]}: sign with SHA-256, which"
                " repositories tell of files"
            )
    files = _once((r["name"], r["digest"]) for r in resources)
    together = hashlib.sha256(b"".join(bytes.fromhex(d) for d in files.values())).hexdigest()
    if [s["digest"]["sha256"] for s in document["subject"]] != [together]:
        raise ValueError("the digest over all of its files is not that of the files it lists")
    return Statement(str(document["subject"][0]["name"]), files)


def _digest_before(subject: Mapping[str, Any]) -> str:
    algorithm = (subject.get("annotations") or {}).get("actual_hash_algorithm", "file-sha256")
    if algorithm != "file-sha256":
        raise ValueError(f"its digests are {str(algorithm)[:20]}: sign whole files with SHA-256")
    return str(subject["digest"]["sha256"])


def _once(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, digest in rows:
        if name in found:
            raise ValueError(f"it lists {name[:80]} twice")
        if not SHA256_HEX.fullmatch(str(digest)):
            raise ValueError(f"its digest of {name[:80]} is none")
        found[str(name)] = str(digest)
    if not found:
        raise ValueError("it signs no file")
    return found


def key_of(envelope: Envelope, keys: Mapping[str, str], today: date) -> str:
    """Name of our key that signed it. Raise ValueError with a sentence. `keys`: PEM by name."""
    signed = encoded(envelope.payload_type, envelope.payload)
    for name, pem in keys.items():
        if any(_is_by(pem, signature, signed) for signature in envelope.signatures):
            if ended := refuse_ended(name, pem, today):
                raise ValueError(f"it is {ended}")
            return name
    meant = [name for name, pem in keys.items() if envelope.hint and hint_of(pem) == envelope.hint]
    if meant:
        raise ValueError(f"the key {meant[0]} did not sign it as it is: the statement was changed")
    other = f" ({envelope.hint[:12]})" if envelope.hint else ""
    raise ValueError(f"it is by a key{other} that is none of {', '.join(keys)}")


def encoded(payload_type: str, payload: bytes) -> bytes:
    """What an envelope's signature is over (PAE of DSSE 1.0)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def hint_of(pem: str) -> str:
    """As signing tools name a key: the digest of its PEM, without what stands before it."""
    _, begin, rest = pem.partition("-----BEGIN")
    return hashlib.sha256((begin + rest).encode()).hexdigest()


def _is_by(pem: str, signature: bytes, signed: bytes) -> bool:
    try:
        key = load_pem_public_key(pem.encode())
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
            key.verify(signature, signed, ec.ECDSA(CURVES[key.curve.name]))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def compared(by: Finding, said: Statement, found: Mapping[str, str]) -> Finding:
    """What a good signature is worth here. `found`: SHA-256 of what lies there; "": not told."""
    there = {path: digest for path, digest in found.items() if not is_beside(path)}
    signed = {path: digest for path, digest in said.files.items() if not is_beside(path)}
    covered = tuple(sorted(p for p in signed if there.get(p) == signed[p]))
    changed = sorted(p for p in signed if there.get(p) and there[p] != signed[p])
    gone = sorted(signed.keys() - there.keys())
    outside = tuple(sorted(p for p in there if p not in signed or not there[p]))
    faults = list(_faults(changed, gone))
    if not covered:
        name = f" ({said.name[:60]})" if said.name else ""
        faults = [f"it signs another model{name}: none of its {len(signed)} files is here"]
    if faults:
        why = f"{by.why}, and it does not count: {'; '.join(faults)}"
        return Finding(Signed.WRONG, why, covered=covered, outside=outside)
    if outside:
        why = (
            f"{by.why}, which covers {len(covered)} of {len(there)} files and not {_some(outside)}"
        )
        return replace(by, state=Signed.PARTIAL, why=why, covered=covered, outside=outside)
    every = f"all {len(covered)} files" if len(covered) > 1 else "its one file"
    return replace(by, why=f"{by.why}: {every}", covered=covered)


def _faults(changed: list[str], gone: list[str]) -> Iterator[str]:
    if changed:
        yield f"{_some(changed)} {_is(changed)} not as signed"
    if gone:
        yield f"{_some(gone)} {_was(gone)} signed and {_is(gone)} not there"


def is_beside(path: str) -> bool:
    return path in BESIDE or path.startswith(BESIDE_IN)


def _some(paths: Iterable[str]) -> str:
    names = list(paths)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name[:80] for name in names[:NAMED]) + more


def _is(paths: list[str]) -> str:
    return "is" if len(paths) == 1 else "are"


def _was(paths: list[str]) -> str:
    return "was" if len(paths) == 1 else "were"
