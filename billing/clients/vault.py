"""Secrets of receivers at rest: encrypted with a key that is not in the database."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Unreadable(Exception):
    """Encrypted with another key than the one of now."""


def seal(key: str, text: str) -> bytes:
    return _fernet(key).encrypt(text.encode())


def unseal(key: str, sealed: bytes | memoryview) -> str:
    try:
        return _fernet(key).decrypt(bytes(sealed)).decode()
    except InvalidToken as error:
        raise Unreadable(
            "The secret was encrypted with another QM_SECRET_KEY: give it a new one"
        ) from error


def unseal_both(
    key: str, sealed: bytes | memoryview, previous: bytes | memoryview | None
) -> tuple[str, ...]:
    """The secret, and the one before it where there is one that can still be read."""
    now = unseal(key, sealed)
    if previous is None:
        return (now,)
    try:
        return now, unseal(key, previous)
    except Unreadable:  # renewed because of it
        return (now,)


def _fernet(key: str) -> Fernet:
    derive = HKDF(SHA256(), length=32, salt=None, info=b"quartermaster/delivery-secret")
    return Fernet(base64.urlsafe_b64encode(derive.derive(key.encode())))
