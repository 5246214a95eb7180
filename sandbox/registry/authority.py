"""A throw-away signing authority: what a keyless signature needs, made on this machine.

A certificate authority, a log of its certificates and a log of signatures, each with a key in
memory, and bundles as cosign attaches them (Sigstore bundle v0.3 around a DSSE envelope).
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
STATEMENT, IN_TOTO = "https://in-toto.io/Statement/v1", "application/vnd.in-toto+json"
COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
LIFETIME = timedelta(minutes=10)  # of a signer's certificate: the log keeps the moment
ORIGIN = "log.sandbox.invalid"

Key = ec.EllipticCurvePrivateKey
Json = dict[str, Any]


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Key) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def sign(key: Key, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(SHA256()))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def compact(document: Any) -> bytes:
    """As RFC 8785 writes documents like ours: sorted, without spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def encoded(payload: bytes) -> bytes:
    """What is signed of a statement (PAE of DSSE)."""
    return b"DSSEv1 " + b" ".join(b"%d %b" % (len(w), w) for w in (IN_TOTO.encode(), payload))


def envelope_of(payload: bytes, signature: bytes) -> Json:
    return {
        "payload": b64(payload),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": b64(signature), "keyid": ""}],
    }


@dataclass
class Authority:
    """`at`: from when its keys count."""

    at: datetime
    ca: Key = field(default_factory=new_key)
    certificates: Key = field(default_factory=new_key)  # of the log of certificates
    signatures: Key = field(default_factory=new_key)  # of the log of signatures

    def trusted_root(self) -> Json:
        """What a verifier needs to know, and nothing secret."""
        since = {"start": self.at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return {
            "mediaType": TRUSTED_ROOT,
            "tlogs": [_log(self.signatures, since)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "sandbox", "commonName": "sandbox"},
                    "uri": "https://ca.sandbox.invalid",
                    "certChain": {"certificates": [{"rawBytes": b64(_der(self._root()))}]},
                    "validFor": since,
                }
            ],
            "ctlogs": [_log(self.certificates, since)],
            "timestampAuthorities": [],
        }

    def bundle(
        self, digest: str, identity: str, issuer: str, at: datetime, kind: str = COSIGN_SIGN
    ) -> Json:
        """Sign the image of this digest as somebody whom the issuer knows by this identity."""
        subject = [{"digest": {"sha256": digest.removeprefix("sha256:")}}]
        statement = {"_type": STATEMENT, "subject": subject, "predicateType": kind, "predicate": {}}
        return self.bundle_of(statement, identity, issuer, at)

    def bundle_of(self, statement: Json, identity: str, issuer: str, at: datetime) -> Json:
        """Any statement, signed in the same way."""
        key, payload = new_key(), json.dumps(statement).encode()
        certificate = self._leaf(key, identity, issuer, at)
        signature = sign(key, encoded(payload))
        envelope = envelope_of(payload, signature)
        entry = self._logged(envelope, payload, signature, certificate, at)
        return {
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(_der(certificate))},
                "tlogEntries": [entry],
                "timestampVerificationData": {"rfc3161Timestamps": []},
            },
            "dsseEnvelope": envelope,
        }

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sandbox")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        return (
            _builder(name, name, self.ca, self.at, timedelta(days=3650), serial=1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.ca.public_key()), critical=False
            )
            .sign(self.ca, SHA256())
        )

    def _leaf(self, key: Key, identity: str, issuer: str, at: datetime) -> x509.Certificate:
        root = self._root().subject
        name: x509.GeneralName = x509.UniformResourceIdentifier(identity)
        if "@" in identity and "://" not in identity:
            name = x509.RFC822Name(identity)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        text = issuer.encode()
        built = (
            _builder(x509.Name([]), root, key, at, LIFETIME, x509.random_serial_number())
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(
                x509.UnrecognizedExtension(ISSUER_V2, b"\x0c" + _length(len(text)) + text),
                critical=False,
            )
        )
        # The log signs the certificate without its own timestamp, then the timestamp goes in.
        before = built.sign(self.ca, SHA256()).tbs_certificate_bytes
        listed = x509.UnrecognizedExtension(SCT_LIST, self._timestamp(before, at))
        return built.add_extension(listed, critical=False).sign(self.ca, SHA256())

    def _timestamp(self, before: bytes, at: datetime) -> bytes:
        moment = int(at.timestamp() * 1000)
        entry = key_id(self.ca) + len(before).to_bytes(3, "big") + before
        head = struct.pack("!BBQH", 0, 0, moment, 1)
        signature = sign(self.certificates, head + entry + struct.pack("!H", 0))
        one = struct.pack("!B32sQH", 0, key_id(self.certificates), moment, 0)
        one += struct.pack("!BBH", 4, 3, len(signature)) + signature  # SHA-256, ECDSA
        listed = struct.pack("!H", len(one) + 2) + struct.pack("!H", len(one)) + one
        return b"\x04" + _length(len(listed)) + listed

    def _logged(
        self,
        envelope: Json,
        payload: bytes,
        signature: bytes,
        certificate: x509.Certificate,
        at: datetime,
    ) -> Json:
        """An entry of the log: promised with a moment, and proved as the second of two."""
        verifier = b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": _hashed(compact(envelope)),
            "payloadHash": _hashed(payload),
            "signatures": [{"signature": b64(signature), "verifier": verifier}],
        }
        body = compact({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        other = hashlib.sha256(b"\x00the first entry").digest()
        leaf = hashlib.sha256(b"\x00" + body).digest()
        root = hashlib.sha256(b"\x01" + other + leaf).digest()
        name = key_id(self.signatures)
        promised = {
            "body": b64(body),
            "integratedTime": int(at.timestamp()),
            "logID": name.hex(),
            "logIndex": 1,
        }
        note = f"{ORIGIN}\n2\n{b64(root)}\n"
        sealed = b64(name[:4] + sign(self.signatures, note.encode()))
        return {
            "logIndex": "1",
            "logId": {"keyId": b64(name)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(promised["integratedTime"]),
            "inclusionPromise": {
                "signedEntryTimestamp": b64(sign(self.signatures, compact(promised)))
            },
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": b64(root),
                "treeSize": "2",
                "hashes": [b64(other)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {ORIGIN} {sealed}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, at: datetime, lasts: timedelta, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(at - timedelta(minutes=1))
        .not_valid_after(at + lasts)
    )


def _log(key: Key, since: Json) -> Json:
    return {
        "baseUrl": f"https://{ORIGIN}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": b64(spki(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": since,
        },
        "logId": {"keyId": b64(key_id(key))},
    }


def _hashed(content: bytes) -> Json:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _length(size: int) -> bytes:
    """Of a DER value."""
    if size < 128:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw
