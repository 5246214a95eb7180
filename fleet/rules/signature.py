"""Whether an image or an artifact is signed by one of our keys: cosign's simple signing, P-256.

What is found of any signature, and what the policy says of it, is here as well.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

UNTIL = re.compile(r"^until: *(\d{4}-\d{2}-\d{2}) *$", re.MULTILINE)
KIND = "cosign container image signature"


class Policy(StrEnum):
    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


class Signed(StrEnum):
    VERIFIED = "verified"
    PARTIAL = "partial"  # of a model: a good signature that does not cover every file
    UNSIGNED = "unsigned"
    WRONG = "wrong"  # there are signatures, and none is by a key of ours of this image
    UNCHECKED = "unchecked"  # the policy is off, or there is no key


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed, and the settings that say whose signatures of it count."""

    what: str
    keys: str
    signers: str


IMAGES = Subject("image", "QM_SIGNATURE_KEYS", "QM_SIGNERS")
MODELS = Subject("model", "QM_MODEL_SIGNATURE_KEYS", "QM_MODEL_SIGNERS")


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
    covered: tuple[str, ...] = ()  # of a model: the files that are as they were signed
    outside: tuple[str, ...] = ()  # files there that nobody signed

    def as_json(self) -> dict[str, Any]:
        more = {"identity": self.identity, "issuer": self.issuer, "logged": self.logged}
        files = {"covered": list(self.covered), "outside": list(self.outside)}
        said = {k: v for k, v in (more | files).items() if v}
        return {"state": self.state.value, "why": self.why, "key": self.key} | said


def verify(
    digest: str,
    found: Iterable[Signature],
    keys: Mapping[str, str],
    *,
    today: date,
    subject: Subject = IMAGES,
) -> Finding:
    """`keys`: public keys in PEM by name. The first good signature decides."""
    signatures = list(found)
    if not keys:
        return Finding(Signed.UNCHECKED, f"{subject.keys} has no key to check signatures with")
    if not signatures:
        return Finding(Signed.UNSIGNED, f"The registry has no signature of {digest[:19]}")
    faults = []
    for one in signatures:
        if fault := _other_image(one.payload, digest, subject):
            faults.append(fault)
            continue
        by = next((name for name, pem in keys.items() if _is_by(one, pem)), "")
        fault = (
            refuse_ended(by, keys[by], today) if by else f"by none of the keys {', '.join(keys)}"
        )
        if not fault:
            return Finding(Signed.VERIFIED, f"Signed with the key {by}", by)
        faults.append(fault)
    return Finding(
        Signed.WRONG, f"{len(signatures)} signatures, and none counts: {'; '.join(faults)}"
    )


def refuse_ended(name: str, pem: str, today: date) -> str:
    """A sentence where the key's last day is over.

    A line `until: 2027-01-31` before a key says it; a key tells no time of signing, so after that
    day nothing that it signed counts.
    """
    until = until_of(pem)
    return f"by the key {name}, which counted until {until}" if until and until < today else ""


def until_of(pem: str) -> date | None:
    """Raise ValueError where the day is none."""
    found = UNTIL.search(pem.partition("-----BEGIN")[0])
    return date.fromisoformat(found[1]) if found else None


def judged(findings: Iterable[Finding], subject: Subject = IMAGES) -> Finding:
    """Of keys and of keyless bundles: one that verifies is enough; else the worst that was seen."""
    checked = [f for f in findings if f.state is not Signed.UNCHECKED]
    if not checked:
        why = f"This console has neither keys ({subject.keys}) nor a trust root"
        more = "" if subject is IMAGES else f" and {subject.signers}"
        why = f"{why} (QM_SIGSTORE_ROOT{more}) to check signatures with"
        return Finding(Signed.UNCHECKED, why)
    order = (Signed.VERIFIED, Signed.PARTIAL, Signed.WRONG, Signed.UNSIGNED)
    best = min(checked, key=lambda f: order.index(f.state))
    others = [f.why for f in checked if f.state is best.state is Signed.WRONG]
    return replace(best, why="; ".join(others)) if len(others) > 1 else best


def refuse_unsigned(
    policy: Policy, state: str, why: str, name: str, subject: Subject = IMAGES
) -> str:
    """A sentence where the policy forbids a release of it. `state` "": never resolved."""
    if policy is not Policy.ENFORCE or state == Signed.VERIFIED:
        return ""
    enforced = f"Signatures{'' if subject is IMAGES else f' of {subject.what}s'} are enforced here"
    if not state:
        return (
            f"{enforced}, and nobody has resolved {name}: press Resolve, which fetches and checks"
            " its signature"
        )
    return f"{enforced}. {why}: sign the {subject.what}, then resolve it again"


def _other_image(payload: bytes, digest: str, subject: Subject) -> str:
    try:
        critical: Any = json.loads(payload)["critical"]
        kind, signed = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError):
        return "a payload that is none of cosign's"
    if kind != KIND:
        return f"a payload of the kind {str(kind)[:60]}"
    return "" if signed == digest else f"of another {subject.what}, {str(signed)[:19]}"


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
