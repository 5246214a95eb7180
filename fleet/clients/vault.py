"""Credentials of clusters at rest: encrypted with a key that is not in the database."""

import base64
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fleet.clients.errors import Permanent


def seal(secret: str, document: dict[str, Any]) -> bytes:
    return _fernet(secret).encrypt(json.dumps(document).encode())


def unseal(secret: str, sealed: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(_fernet(secret).decrypt(sealed))
    except InvalidToken as error:
        raise Permanent(
            "The cluster's credential was encrypted with another QM_SECRET_KEY: register it again"
        ) from error
    return document


def _fernet(secret: str) -> Fernet:
    derive = HKDF(SHA256(), length=32, salt=None, info=b"quartermaster/cluster-credential")
    return Fernet(base64.urlsafe_b64encode(derive.derive(secret.encode())))
