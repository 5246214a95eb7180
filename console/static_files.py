"""Files of the pages at addresses that change with what is in them.

Browsers keep a file for an hour without asking. After an upgrade a page would else run with the
script and the styles of the version before.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage


class VersionedFiles(StaticFilesStorage):
    """Serves from the tree as before: the version is a query, which nobody who serves reads."""

    def url(self, name: str | None) -> str:
        address = super().url(name)
        version = digest_of(name) if name else ""
        return f"{address}?v={version}" if version else address


@lru_cache(maxsize=256)
def digest_of(name: str) -> str:
    """Twelve digits of a file's SHA-256, read once a process; empty where there is no such file."""
    found = finders.find(name)
    return hashlib.sha256(Path(found).read_bytes()).hexdigest()[:12] if found else ""
