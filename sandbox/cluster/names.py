"""Names of pods with a hostname and a subdomain, such as those of a StatefulSet.

The sandbox has no DNS. The node agent keeps a file for each name, HOSTNAME.SERVICE, with the pod's
address; the stand-in engine looks there (SANDBOX_NAMES), as a program in a cluster would ask the
resolver. Of two namespaces with one such name the later pod wins.
"""

import contextlib
from pathlib import Path


def folder(state: Path) -> Path:
    return state / "names"


def write(state: Path, name: str, address: str) -> None:
    place = folder(state)
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / f".{name}"
    fresh.write_text(address)
    fresh.replace(place / name)


def forget(state: Path, name: str, address: str) -> None:
    """Unless it is another pod's by now."""
    path = folder(state) / name
    with contextlib.suppress(FileNotFoundError):
        if path.read_text() == address:
            path.unlink()
