"""Whether an image is signed by one of our keys: cosign's simple signing, ECDSA P-256."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KIND = "cosign container image signature"


class Policy(StrEnum):
    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


class Signed(StrEnum):
    VERIFIED = "verified"
    UNSIGNED = "unsigned"
    WRONG = "wrong"  # there are signatures, and none is by a key of ours of this image
    UNCHECKED = "unchecked"  # the policy is off, or there is no key


@dataclass(frozen=True, slots=True)
class Signature:
    payload: bytes
    signature: str  # base64


@dataclass(frozen=True, slots=True)
class Finding:
    state: Signed
    why: str
    key: str = ""  # its name
    identity: str = ""  # of a keyless signature: who, whom the issuer knows
    issuer: str = ""
    logged: str = ""  # entry and moment of the transparency log

    def as_json(self) -> dict[str, str]:
        keyless = {"identity": self.identity, "issuer": self.issuer, "logged": self.logged}
        said = {k: v for k, v in keyless.items() if v}
        return {"state": self.state.value, "why": self.why, "key": self.key} | said


def verify(digest: str, found: Iterable[Signature], keys: Mapping[str, str]) -> Finding:
    """`keys`: public keys in PEM by name. The first good signature decides."""
    signatures = list(found)
    if not keys:
        return Finding(Signed.UNCHECKED, "QM_SIGNATURE_KEYS has no key to check signatures with")
    if not signatures:
        return Finding(Signed.UNSIGNED, f"The registry has no signature of {digest[:19]}")
    faults = []
    for one in signatures:
        if fault := _other_image(one.payload, digest):
            faults.append(fault)
            continue
        for name, pem in keys.items():
            if _is_by(one, pem):
                return Finding(Signed.VERIFIED, f"Signed with the key {name}", name)
        faults.append(f"by none of the keys {', '.join(keys)}")
    return Finding(
        Signed.WRONG, f"{len(signatures)} signatures, and none counts: {'; '.join(faults)}"
    )


def judged(findings: Iterable[Finding]) -> Finding:
    """Of keys and of keyless bundles: one that verifies is enough; else the worst that was seen."""
    checked = [f for f in findings if f.state is not Signed.UNCHECKED]
    if not checked:
        why = "This console has neither keys (QM_SIGNATURE_KEYS) nor a trust root"
        return Finding(Signed.UNCHECKED, f"{why} (QM_SIGSTORE_ROOT) to check signatures with")
    order = (Signed.VERIFIED, Signed.WRONG, Signed.UNSIGNED)
    best = min(checked, key=lambda f: order.index(f.state))
    others = [f.why for f in checked if f.state is best.state is Signed.WRONG]
    return replace(best, why="; ".join(others)) if len(others) > 1 else best


def refuse_unsigned(policy: Policy, state: str, why: str, image: str) -> str:
    """A sentence where the policy forbids a release of this image. `state` "": never resolved."""
    if policy is not Policy.ENFORCE or state == Signed.VERIFIED:
        return ""
    if not state:
        return (
            f"Signatures are enforced here, and nobody has resolved {image}: press Resolve, which"
            " fetches and checks its signature"
        )
    return f"Signatures are enforced here. {why}: sign the image, then resolve it again"


def _other_image(payload: bytes, digest: str) -> str:
    try:
        critical: Any = json.loads(payload)["critical"]
        kind, signed = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError):
        return "a payload that is none of cosign's"
    if kind != KIND:
        return f"a payload of the kind {str(kind)[:60]}"
    return "" if signed == digest else f"of another image, {str(signed)[:19]}"


def _is_by(one: Signature, pem: str) -> bool:
    try:
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            return False
        raw = base64.b64decode(one.signature, validate=True)
        key.verify(raw, one.payload, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, binascii.Error):
        return False
    return True
