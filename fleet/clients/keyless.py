"""Bundles of keyless signatures, verified offline against a trust root on disk."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat import asn1
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)
from pydantic import ValidationError
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify.verifier import Verifier

from fleet.clients.errors import Permanent
from fleet.rules.keyless import Signature, explained

ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


class Keyless:
    """Reads the trust root once; asks nobody."""

    def __init__(self, trusted_root: Path) -> None:
        try:
            self.verifier = Verifier(trusted_root=TrustedRoot.from_file(str(trusted_root)))
        except (OSError, ValueError, Error) as error:
            raise Permanent(
                f"The trust root {trusted_root} (QM_SIGSTORE_ROOT) cannot be read: {error}"
            ) from error

    def verify(self, raw: bytes) -> Signature:
        """Chain, log of certificates, log of signatures, signature. Raise Permanent: which not."""
        try:
            bundle = Bundle.from_json(raw)
            kind, payload = self.verifier.verify_dsse(bundle, _Anybody())
        except VerificationError as error:
            raise Permanent(explained(str(error))) from error
        except (Error, ValidationError, ValueError, ExtensionNotFound) as error:
            raise Permanent(f"it is no bundle that can be read ({_first(error)})") from error
        certificate = bundle.signing_certificate
        entry = bundle.log_entry._inner
        at = entry.integrated_time
        return Signature(
            issuer=_issuer(certificate),
            identities=tuple(_identities(certificate)),
            payload_type=kind,
            payload=payload,
            log_index=entry.log_index,
            logged_at=datetime.fromtimestamp(at, UTC).isoformat() if at else "",
        )


class _Anybody:
    """Who may sign is asked of the rules, after all else is proved."""

    def verify(self, cert: Certificate) -> None:
        return


def _issuer(certificate: Certificate) -> str:
    try:
        value = certificate.extensions.get_extension_for_oid(ISSUER).value
        return str(asn1.decode_der(str, value.value))  # type: ignore[attr-defined]  # as the library does
    except (ExtensionNotFound, ValueError):
        return ""


def _identities(certificate: Certificate) -> Iterable[str]:
    found = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    yield from found.get_values_for_type(RFC822Name)
    yield from found.get_values_for_type(UniformResourceIdentifier)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
