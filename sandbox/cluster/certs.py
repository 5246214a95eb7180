"""Certificates, keys and kubeconfigs of the sandbox control plane.

Everything is made once per data directory and reused after a restart.  The keys
protect nothing but the sandbox; they are written with mode 0600 all the same.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = dt.timedelta(days=365)
# kubeconfig name -> (common name, organisation or "")
CLIENTS = {
    "admin": ("admin", "system:masters"),
    "kcm": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "node-agent": ("sandbox:node-agent", ""),
}


def write_private(path: Path, data: bytes | str) -> None:
    """Create or replace a file that only its owner can read."""
    raw = data.encode() if isinstance(data, str) else data
    tmp = path.with_name(path.name + ".new")
    fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(raw)
    tmp.replace(path)


def _pem_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _name(common: str, organisation: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


class Authority:
    """The cluster's certificate authority, kept in one directory."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "ca.crt").exists():
            self._make_ca()
        self.cert = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key = key

    def _make_ca(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        cert = (
            x509.CertificateBuilder()
            .subject_name(_name("sandbox-ca"))
            .issuer_name(_name("sandbox-ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            # Without these two, Python >= 3.13 (VERIFY_X509_STRICT) refuses the chain.
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        write_private(self.dir / "ca.key", _pem_key(key))
        (self.dir / "ca.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, common: str, organisation: str = "", sans: tuple[str, ...] = ()
    ) -> None:
        """Write name.crt and name.key, unless they exist."""
        if (self.dir / f"{name}.crt").exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common, organisation))
            .issuer_name(self.cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_san(s) for s in sans]), critical=False
            )
        cert = builder.sign(self.key, hashes.SHA256())
        write_private(self.dir / f"{name}.key", _pem_key(key))
        (self.dir / f"{name}.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_encipherment=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def make_service_account_keys(directory: Path) -> None:
    """The RSA pair that signs and checks ServiceAccount tokens."""
    if (directory / "sa.pub").exists():
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_private(directory / "sa.key", _pem_key(key))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / "sa.pub").write_bytes(public)


def write_kubeconfig(path: Path, server: str, ca: Path, user: dict[str, str]) -> None:
    """A kubeconfig in JSON (which is YAML); user holds file paths or a token.

    The authority is inside, so that the file can be pasted into a form.
    """
    authority = base64.b64encode(ca.read_bytes()).decode()
    cluster = {"server": server, "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "user"}}],
        "current-context": "sandbox",
    }
    write_private(path, json.dumps(config, indent=1))


def make_pki(directory: Path, service_ip: str) -> None:
    """All certificates and keys of one control plane."""
    authority = Authority(directory)
    names = (
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "127.0.0.1",
        service_ip,
    )
    authority.issue("apiserver", "kube-apiserver", sans=names)
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client")
    for name, (common, organisation) in CLIENTS.items():
        authority.issue(name, common, organisation)
    make_service_account_keys(directory)


def make_kubelet_certificate(directory: Path, addresses: tuple[str, ...]) -> Path:
    """Of the nodes' log listeners; returns the certificate, whose key lies beside it."""
    name = f"kubelet-{addresses[0]}-{len(addresses)}"
    Authority(directory).issue(name, "sandbox-kubelet", sans=addresses)
    return directory / f"{name}.crt"


def write_client_kubeconfigs(data: Path, server: str) -> None:
    """One kubeconfig per client certificate; rewritten when the port changes."""
    pki = data / "pki"
    for name in CLIENTS:
        user = {
            "client-certificate": str(pki / f"{name}.crt"),
            "client-key": str(pki / f"{name}.key"),
        }
        write_kubeconfig(data / f"{name}.kubeconfig", server, pki / "ca.crt", user)
