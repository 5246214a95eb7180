"""The shape of credentials. Each identity kind has a prefix, so one is never taken for another."""

import hashlib
import re
from enum import StrEnum


class Kind(StrEnum):
    API_KEY = "qmk"  # an application's inference key, for the gateway
    ACCESS_TOKEN = "qmt"  # a person's or finance's token, for the REST API
    USAGE_SOURCE = "qms"  # a gateway's credential, for the ingest door


PATTERN = re.compile(r"(qmk|qmt|qms)_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")


def kind_of(secret: str) -> Kind | None:
    found = PATTERN.fullmatch(secret)
    return Kind(found[1]) if found else None


def compose(kind: Kind, public_id: str, random_part: str) -> str:
    """Join the parts; `random_part` is 256 random bits in unpadded base64url."""
    return f"{kind.value}_{public_id}_{random_part}"


def digest(secret: str) -> str:
    """Hexadecimal SHA-256. A slow hash would add nothing: the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
