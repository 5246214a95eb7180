"""The data folder: one owner at a time, secrets made once, files written whole."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.up.options import UpError

LOCK, STATE, SECRETS, DEMO = "up.lock", "up.json", "secrets.json", "demo.json"
TRAFFIC_OFF = "traffic.off"  # while this file exists the demo's clients are silent
# All that this folder ever holds; `make reset` deletes these and nothing else.
CONTENTS = (
    *(LOCK, STATE, SECRETS, DEMO, "history.json", TRAFFIC_OFF),
    *(
        "stores",
        "logs",
        "cluster",
        "cluster-2",
        "clusters",
        "spool",
        "exports",
        "static",
        "images.json",
        "registry",
    ),
)


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder; UpError when another `make up` does."""
    try:
        data.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (data / LOCK).open("a+")
    except OSError as error:
        raise UpError(
            f"May not write {error.filename} ({error.strerror}). Choose another folder: "
            "QM_DATA=/some/folder make up"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(_occupied(data)) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def holder(data: Path) -> int | None:
    """Return the process that holds the folder, None when nobody does."""
    try:
        lock = (data / LOCK).open("r+")
    except OSError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0) or None
    return None


def keep_secrets(data: Path) -> dict[str, str]:
    """Return the secrets of this installation, made on the first start."""
    path = data / SECRETS
    kept: dict[str, str] = read_json(path) or {}
    for name in ("QM_SECRET_KEY", "QM_SALT_SECRET"):
        kept.setdefault(name, secrets.token_urlsafe(48))
    write_json(path, kept)
    return kept


def read_json(path: Path) -> Any:
    """Return the document, None when it is not there."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def write_json(path: Path, document: Any) -> None:
    """Write for this user only, and whole: a reader sees the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _occupied(data: Path) -> str:
    state = read_json(data / STATE) or {}
    where = f": the console is at {state['console_url']}" if state.get("console_url") else ""
    return (
        f"Quartermaster runs already on {data}, process {holder(data) or 'unknown'}{where}. "
        "Stop it with make down, or choose another folder and other ports: "
        "QM_DATA=... QM_PORT=... QM_GATEWAY_PORT=... make up"
    )
