"""Make the virtual environment from hashed requirements, with nothing but the system's Python.

    python3 sandbox/bootstrap.py base    what `make up` needs
    python3 sandbox/bootstrap.py dev     with the tools of `make check` and `make test`

Does nothing when the requirements are those of the last time. QM_VENV chooses the folder
(default .venv in the tree). uv, pinned and hashed as well, stays outside it in the user's cache.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
REQUIREMENTS = TREE / "requirements"
NEWEST = (3, 14)  # the embedded servers have no wheels for later versions yet


def main() -> int:
    kind = sys.argv[1] if len(sys.argv) > 1 else "base"
    if kind not in ("base", "dev"):
        return fail(f"unknown kind {kind!r}: say base or dev")
    if not (3, 11) <= sys.version_info[:2] <= NEWEST:
        return fail(
            f"Python {sys.version.split()[0]} is not supported. Install Python 3.11 to "
            f"{NEWEST[0]}.{NEWEST[1]} and name it: make PYTHON=python3.11 up"
        )
    venv = Path(os.environ.get("QM_VENV") or TREE / ".venv").absolute()
    if fresh(venv, kind):
        return 0
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would undo each other's work
        try:
            ensure(venv, kind)
        except subprocess.CalledProcessError as error:
            return fail(
                f"{Path(error.cmd[0]).name} failed with status {error.returncode}, see above"
            )
    return 0


def ensure(venv: Path, kind: str) -> None:
    """Bring the environment to the state that the requirements name; keep what is right."""
    if fresh(venv, kind):  # another one was quicker
        return
    kind = wanted(venv, kind)
    python = venv / "bin" / "python"
    started = time.monotonic()
    say(f"Installing Python packages into {venv} ({kind}) ...")
    if not works(python):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", venv], check=True)
    command: list[str | Path] = [
        uv(),
        "pip",
        "sync",
        "--quiet",
        "--compile-bytecode",  # once, and not in each of the processes that start together
        "--require-hashes",
        "--python",
        python,
    ]
    subprocess.run([*command, REQUIREMENTS / f"{kind}.txt"], check=True)
    # The tree itself is importable from everywhere, without being a package.
    site = next((venv / "lib").glob("python3.*/site-packages"))
    (site / "quartermaster-tree.pth").write_text(f"{TREE}\n")
    stamp(venv, kind).write_text(digest_of(kind))
    say(f"Installed in {time.monotonic() - started:.0f} s")


def fresh(venv: Path, kind: str) -> bool:
    """Tell whether the environment is as the requirements say, without touching anything."""
    mark = stamp(venv, wanted(venv, kind))
    if not (venv / "bin" / "python").exists() or not mark.exists():
        return False
    return mark.read_text() == digest_of(wanted(venv, kind))


def wanted(venv: Path, kind: str) -> str:
    """A developer's tools are never taken away by `make up`."""
    return "dev" if stamp(venv, "dev").exists() else kind


def digest_of(kind: str) -> str:
    parts = [(REQUIREMENTS / f"{kind}.txt").read_bytes(), sys.version.encode(), bytes(TREE)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def stamp(venv: Path, kind: str) -> Path:
    return venv / f".quartermaster-{kind}"


def works(python: Path) -> bool:
    """A folder whose Python is gone or of another version is made anew."""
    if not python.exists():
        return False
    code = "import sys; print(sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.stdout.strip() == str(sys.version_info[:2])


def uv() -> Path:
    """Return the pinned uv, installed into the user's cache on first use."""
    pinned = REQUIREMENTS / "bootstrap.txt"
    digest = hashlib.sha256(pinned.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache() / f"uv-{digest}"
    program = folder / "bin" / "uv"
    if program.exists():
        return program
    half = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", half], check=False)
    if made.returncode and shutil.which("uv"):
        return Path(
            shutil.which("uv") or ""
        )  # not the pinned one, but hashes are checked all the same
    if made.returncode:
        say("Python's module venv does not work here. On Debian: apt install python3-venv")
        raise subprocess.CalledProcessError(made.returncode, "venv")
    install: list[str | Path] = [
        half / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
    ]
    subprocess.run([*install, "-r", pinned], check=True)
    # The program stands alone, so the environment around it may be moved into place.
    if not folder.exists():
        half.rename(folder)
    return program


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "quartermaster"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> int:
    say(f"error: {text}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
