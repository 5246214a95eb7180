"""The cast, for the fleet's own tests too."""

from tests.tenants.conftest import (
    _cheap_passwords,
    acme,
    adam,
    chat,
    fiona,
    globex,
    mallory,
    olga,
    vic,
)

__all__ = ["_cheap_passwords", "acme", "adam", "chat", "fiona", "globex", "mallory", "olga", "vic"]
