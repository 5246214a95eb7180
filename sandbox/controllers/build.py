"""Build the controller of LeaderWorkerSet once per user: python -m sandbox.controllers.build

The result lies in ${XDG_CACHE_HOME:-~/.cache}/quartermaster/controllers/DIGEST/: the program
`lws-manager`, and of its module the definitions (`crd/`) and `webhooks.yaml`. Prints JSON lines as
the build of the control plane does, whose compiled packages it shares.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sandbox.bootstrap import cache
from sandbox.controlplane.build import (
    BuildFailed,
    JsonLines,
    Progress,
    compile_packages,
    list_packages,
    silent,
)
from sandbox.controlplane.toolchain import NoToolchain, find_go
from sandbox.locking import exclusive

HERE = Path(__file__).resolve().parent
MODULE = "sigs.k8s.io/lws"
PACKAGE = f"{MODULE}/cmd"
MANAGER = "lws-manager"
FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")


def version() -> str:
    """Such as "v0.9.0", from go.mod."""
    found = re.search(rf"{MODULE} (v\S+)", (HERE / "go.mod").read_text())
    if found is None:
        raise BuildFailed(f"go.mod does not name {MODULE}")
    return found[1]


def bin_dir() -> Path:
    """Where the program of these sources is, or will be."""
    digest = hashlib.sha256(repr((FLAGS, PACKAGE)).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((HERE / name).read_bytes())
    return cache() / "controllers" / digest.hexdigest()[:20]


def ensure(progress: Progress = silent) -> Path:
    """The folder with program and definitions; builds when needed, one builder at a time.

    Raises BuildFailed with a text for the developer.
    """
    began = time.monotonic()

    def tell(percent: float, text: str) -> None:
        progress("controllers", percent, time.monotonic() - began, text)

    if not bin_dir().exists():  # it appears by one rename
        with exclusive(
            cache() / "controllers" / "lock", lambda: tell(0.0, "another build is running")
        ):
            if not bin_dir().exists():
                _build(tell)
    tell(100.0, f"LeaderWorkerSet {version()} is built")
    return bin_dir()


def _build(tell: Callable[[float, str], None]) -> None:
    try:
        go = str(find_go())
    except NoToolchain as exc:
        raise BuildFailed(str(exc)) from exc
    env = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    tell(1.0, "downloading Go modules")
    packages = list_packages(go, env, HERE, (PACKAGE,))
    with tempfile.TemporaryDirectory(dir=bin_dir().parent, prefix="build-") as scratch:
        fresh = Path(scratch) / "bin"
        (fresh / "crd").mkdir(parents=True)
        argv = [go, "build", "-v", "-o", str(fresh / MANAGER), *FLAGS, PACKAGE]
        compile_packages(argv, env, HERE, packages, tell)
        config = _source(go, env) / "config"
        for found in (config / "crd" / "bases").glob("*.yaml"):
            shutil.copyfile(found, fresh / "crd" / found.name)
        shutil.copyfile(config / "webhook" / "manifests.yaml", fresh / "webhooks.yaml")
        fresh.replace(bin_dir())


def _source(go: str, env: dict[str, str]) -> Path:
    """Of its module, as Go keeps it."""
    argv = [go, "list", "-m", "-f", "{{.Dir}}", MODULE]
    done = subprocess.run(argv, cwd=HERE, env=env, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        print(json.dumps({"bin": str(ensure(JsonLines()))}), flush=True)
    except BuildFailed as exc:
        print(json.dumps({"stage": "controllers", "error": str(exc)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
