"""Keyless signatures: who may sign, and what a refused bundle says to the person who must act."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from fleet.rules.signature import IMAGES, Subject

IN_TOTO = "application/vnd.in-toto+json"
SIGNS = "https://sigstore.dev/cosign/sign/v1"  # what cosign signs; other kinds only attest
# By the words of the library, which checks in this order.
CHECKS = (
    ("not enough sources of verified time", "no log and no timestamp proves when it was signed"),
    ("Integrated time only", "its log entry is of a kind whose time proves nothing"),
    ("no Timestamp Authorities", "its timestamp is of an authority that the trust root lacks"),
    (
        "failed to build timestamp certificate chain",
        "its certificate is by no authority of the trust root (QM_SIGSTORE_ROOT), or was not valid"
        " when it was signed",
    ),
    (
        "failed to verify SCT",
        "no log of certificates that the trust root knows has its certificate",
    ),
    ("Key usage", "its certificate is not made for signing"),
    ("Extended usage", "its certificate is not made for signing code"),
    ("invalid log entry: SET", "the log that the trust root knows did not promise its entry"),
    ("invalid log entry: inclusion proof", "its log entry is not in the tree that it is proved by"),
    (
        "invalid log entry: ('Inclusion proof",
        "its log entry is not in the tree that the log signed",
    ),
    ("invalid log entry: checkpoint", "no log that the trust root knows signed its tree"),
    ("invalid log entry", "its log entry is not what the log signed"),
    ("invalid signing cert: expired", "its certificate had expired when the log saw it"),
    ("DSSE: invalid signature", "its certificate's key did not sign it"),
    ("log entry", "its log entry is of another signature"),
    ("transparency log entry is inconsistent", "its log entry is of another signature"),
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who may sign: an identity as the issuer knows it; `*` stands for any characters."""

    issuer: str
    identity: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A bundle whose cryptography is right."""

    issuer: str
    identities: tuple[str, ...]  # of the certificate's subject
    payload_type: str
    payload: bytes
    log_index: int
    logged_at: str  # ISO 8601


def refuse_signer(
    signers: Iterable[Signer],
    issuer: str,
    identities: Iterable[str],
    subject: Subject = IMAGES,
) -> str:
    """A sentence where none of the identities may sign such things here."""
    names = list(identities)
    for signer in signers:
        if signer.issuer == issuer and any(fnmatchcase(n, signer.identity) for n in names):
            return ""
    who = ", ".join(names)[:200] or "nobody"
    return (
        f"{who}, known to {issuer or 'no issuer'}, may not sign {subject.what}s here: an operator"
        f" adds the identity to {subject.signers}"
    )


def refuse_statement(
    payload_type: str, payload: bytes, digest: str, subject: Subject = IMAGES
) -> str:
    """A sentence where what is signed is no signature of this image or artifact."""
    if payload_type != IN_TOTO:
        return f"it signs a payload of the kind {payload_type[:60]}"
    try:
        statement: Any = json.loads(payload)
        kind = str(statement["predicateType"])
        signed = [s["digest"].get("sha256", "") for s in statement["subject"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it signs no statement of in-toto"
    if kind != SIGNS:
        return f"it attests {kind[:80]}, which is no signature"
    if digest.removeprefix("sha256:") not in signed:
        other = f"sha256:{str(signed[0])[:12] if signed else 'none'}"
        return f"it signs another {subject.what}, {other}"
    return ""


def explained(error: str) -> str:
    """What the library says, for a person."""
    for words, sentence in CHECKS:
        if error.startswith(words):
            return sentence
    return f"it cannot be verified ({error.splitlines()[0][:160] if error else 'no reason'})"


def read_signers(document: Any) -> tuple[Signer, ...]:
    """From [{"issuer": ..., "identity": ...}]. Raise ValueError with a sentence."""
    rows = document if isinstance(document, list) else []
    if not rows:
        raise ValueError('there is no signer in it: write [{"issuer": "...", "identity": "..."}]')
    return tuple(_signer(row) for row in rows)


def _signer(row: Any) -> Signer:
    known = row if isinstance(row, Mapping) else {}
    issuer, identity = known.get("issuer"), known.get("identity")
    if not (isinstance(issuer, str) and isinstance(identity, str) and issuer and identity):
        raise ValueError(f"{row!r} has no issuer and identity")
    if not identity.strip("*"):
        raise ValueError(f"the identity {identity} would let everybody sign whom {issuer} knows")
    return Signer(issuer, identity)
