"""Judge signatures that were fetched: of images, of artifacts, of models. Asks nobody.

What was fetched is evidence: it is kept with the record, so that the same can be judged again, with
other keys or on another day, while no registry answers.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from fleet.clients.errors import Permanent
from fleet.rules.keyless import Signature as KeylessSignature
from fleet.rules.keyless import Signer, refuse_signer, refuse_statement
from fleet.rules.model_signature import (
    FILE,
    SignedFiles,
    compared,
    key_of,
    read_envelope,
    read_statement,
)
from fleet.rules.signature import (
    IMAGES,
    MODELS,
    Finding,
    Signature,
    Signed,
    Subject,
    judged,
    verify,
)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures of such things count. `keys`: PEM by name."""

    subject: Subject
    keys: Mapping[str, str]
    root: Path | None
    signers: tuple[Signer, ...]

    @classmethod
    def of(cls, subject: Subject) -> Self:
        root = settings.QM_SIGSTORE_ROOT
        if subject is IMAGES:
            return cls(subject, settings.QM_SIGNATURE_KEYS, root, settings.QM_SIGNERS)
        signers = settings.QM_MODEL_SIGNERS
        return cls(subject, settings.QM_MODEL_SIGNATURE_KEYS, root if signers else None, signers)

    @property
    def checks(self) -> bool:
        return bool(self.keys or self.root)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was fetched. None and nothing of a kind: nobody asked for it, there was none.

    `digest`: of an image or an artifact, which covers all of its `files`.
    """

    digest: str = ""
    payloads: tuple[Signature, ...] | None = None
    bundles: tuple[bytes, ...] | None = None
    own: SignedFiles | None = None  # the model's own signature, beside its weights
    files: tuple[str, ...] = ()
    asked: bool = True

    def as_json(self) -> dict[str, Any]:
        if not self.asked:
            return {}
        return {
            "digest": self.digest,
            "payloads": _each(self.payloads, lambda s: [_text(s.payload), s.signature]),
            "bundles": _each(self.bundles, _text),
            "own": {"signature": _text(self.own.signature), "files": dict(self.own.files)}
            if self.own
            else None,
            "files": list(self.files),
        }


def evidence_from(kept: Mapping[str, Any]) -> Evidence:
    """As `Evidence.as_json` wrote it."""
    if not kept:
        return Evidence(asked=False)
    payloads, bundles, own = kept["payloads"], kept["bundles"], kept["own"]
    return Evidence(
        digest=kept["digest"],
        payloads=None if payloads is None else tuple(Signature(_bytes(p), s) for p, s in payloads),
        bundles=None if bundles is None else tuple(map(_bytes, bundles)),
        own=SignedFiles(_bytes(own["signature"]), own["files"]) if own else None,
        files=tuple(kept["files"]),
    )


def checked(evidence: Evidence, trust: Trust, today: date) -> Finding:
    """One signature that counts is enough; else the worst that was seen."""
    found = list(_findings(evidence, trust, today)) if evidence.asked and trust.checks else []
    return judged(found, trust.subject)


def _findings(evidence: Evidence, trust: Trust, today: date) -> Iterator[Finding]:
    digest, whole = evidence.digest, evidence.files
    if evidence.payloads is not None and trust.keys:
        found = verify(digest, evidence.payloads, trust.keys, today=today, subject=trust.subject)
        yield replace(found, covered=whole) if found.state is Signed.VERIFIED else found
    if evidence.bundles is not None and trust.root:
        found = _keyless(trust, trust.root, evidence.bundles, digest)
        yield replace(found, covered=whole) if found.state is Signed.VERIFIED else found
    if evidence.own:
        yield _own(trust, evidence.own, today)
    elif not digest:
        yield Finding(Signed.UNSIGNED, f"No signature ({FILE}) lies beside the weights")


def _keyless(trust: Trust, root: Path, bundles: tuple[bytes, ...], digest: str) -> Finding:
    """The first bundle of a signer of ours decides; else each says which check failed."""
    from fleet.clients.keyless import Keyless  # noqa: PLC0415  # sigstore: no start waits for it

    if not bundles:
        return Finding(Signed.UNSIGNED, f"The registry has no signature of {digest[:19]}")
    authority, faults = Keyless(root), []
    for raw in bundles:
        try:
            found = authority.verify(raw)
        except Permanent as error:
            faults.append(error.message)
            continue
        fault = refuse_statement(found.payload_type, found.payload, digest, trust.subject)
        fault = fault or refuse_signer(trust.signers, found.issuer, found.identities, trust.subject)
        if not fault:
            return _by_identity(found)
        faults.append(fault)
    told = "; ".join(f"of one {fault}" for fault in faults)
    return Finding(Signed.WRONG, f"{len(bundles)} keyless signatures, and none counts: {told}")


def _by_identity(found: KeylessSignature) -> Finding:
    who = found.identities[0]
    return Finding(
        Signed.VERIFIED,
        f"Signed by {who}, known to {found.issuer}",
        identity=who,
        issuer=found.issuer,
        logged=f"entry {found.log_index} of {found.logged_at or 'an unknown time'}",
    )


def _own(trust: Trust, own: SignedFiles, today: date) -> Finding:
    """Who signed the list of the model's files, and whether these files are here."""
    try:
        envelope = read_envelope(own.signature)
        if envelope.keyless:
            by, kind, payload = _own_keyless(trust, own.signature)
        elif trust.keys:
            name = key_of(envelope, trust.keys, today)
            by = Finding(Signed.VERIFIED, f"Signed with the key {name}", name)
            kind, payload = envelope.payload_type, envelope.payload
        else:
            raise ValueError(f"it is by a key, and {trust.subject.keys} has none")
        return compared(by, read_statement(kind, payload), own.files)
    except (ValueError, Permanent) as error:
        return Finding(Signed.WRONG, f"The model's signature does not count: {error}")


def _own_keyless(trust: Trust, raw: bytes) -> tuple[Finding, str, bytes]:
    from fleet.clients.keyless import Keyless  # noqa: PLC0415  # sigstore: no start waits for it

    if trust.root is None:
        raise ValueError(f"it is keyless, and this console has no {trust.subject.signers}")
    found = Keyless(trust.root).verify(raw)
    if fault := refuse_signer(trust.signers, found.issuer, found.identities, MODELS):
        raise ValueError(fault)
    return _by_identity(found), found.payload_type, found.payload


def _each(rows: Any, how: Any) -> list[Any] | None:
    return None if rows is None else [how(row) for row in rows]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
