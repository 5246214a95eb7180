"""Values of the environment in the form that the settings have."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.rules.keyless import Signer, read_signers

POLICIES = ("off", "warn", "enforce")


def words(text: str) -> frozenset[str]:
    """A list separated by commas."""
    return frozenset(w.strip() for w in text.split(",") if w.strip())


def addresses(text: str) -> dict[str, str]:
    """Registries by the name that stands in references; TLS where no address says otherwise."""
    pairs = (w.partition("=") for w in sorted(words(text)))
    return {name: address or f"https://{name}" for name, _, address in pairs}


def policies(text: str) -> dict[str, str]:
    """By cluster; the one without a cluster is of all others."""
    pairs = (w.rpartition("=") for w in sorted(words(text)))
    found = {"": "off"} | {cluster: policy for cluster, _, policy in pairs}
    if wrong := [p for p in found.values() if p not in POLICIES]:
        raise ValueError(f"{wrong[0]} is no policy: say {', '.join(POLICIES)}")
    return found


def public_keys(folder: Path | None) -> dict[str, str]:
    """By name. Raise ValueError where the folder has none."""
    found = {p.stem: p.read_text() for p in sorted(folder.glob("*.pub"))} if folder else {}
    if folder and not found:
        raise ValueError(f"{folder} has no key: put NAME.pub there, in PEM")
    return found


def trust_root(path: Path | None) -> Path | None:
    """Raise ValueError where there is no document."""
    try:
        if path and not isinstance(json.loads(path.read_text()), dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no trusted root of Sigstore: {error}") from error
    return path


def signers(path: Path | None) -> tuple[Signer, ...]:
    """Who may sign images without a key of ours. Raise ValueError with a sentence."""
    try:
        return read_signers(json.loads(path.read_text())) if path else ()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def credentials(path: Path | None) -> dict[str, str]:
    """By registry. Raise ValueError where the file cannot be read."""
    try:
        return dict(json.loads(path.read_text())) if path else {}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f'{path} is no JSON {{"name": "user:password"}}: {error}') from error


def database(url: str) -> dict[str, object]:
    """Turn a PostgreSQL URL, sockets included (`?host=/dir`), into Django's dictionary."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "console.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": query.pop("port", str(parts.port or "")),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,  # after a restart of PostgreSQL the pool holds dead ones
        "ATOMIC_REQUESTS": False,  # console.access opens the viewer's scope around each view
        "OPTIONS": query
        | {"pool": {"min_size": 1, "max_size": 12, "timeout": 10}, "application_name": "qm"},
    }
