"""Mint secrets. What is kept is their digest; the secret itself is answered once."""

import secrets
import string
from dataclasses import dataclass

from tenants.rules.secrets import Kind, compose, digest

ALPHABET = string.ascii_lowercase + string.digits
READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # no i, l, o, 0, 1: it is typed by hand


@dataclass(frozen=True, slots=True)
class Minted:
    secret: str
    public_id: str
    digest: str


def mint(kind: Kind) -> Minted:
    public_id = "".join(secrets.choice(ALPHABET) for _ in range(8))
    secret = compose(kind, public_id, secrets.token_urlsafe(32))
    return Minted(secret, public_id, digest(secret))


def mint_password() -> str:
    """Five groups of four: 99 random bits."""
    groups = ("".join(secrets.choice(READABLE) for _ in range(4)) for _ in range(5))
    return "-".join(groups)
