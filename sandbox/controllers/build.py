"""Build others' controllers once per user: python -m sandbox.controllers.build [lws] [kueue]

The result lies in ${XDG_CACHE_HOME:-~/.cache}/quartermaster/controllers/DIGEST/: the program
`manager`, and of its module what it is installed with. Prints JSON lines as the build of the
control plane does, whose compiled packages it shares.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
MANAGER = "manager"
FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")


@dataclass(frozen=True)
class Controller:
    """`folder`: of its go.mod and go.sum. `kept`: name in the result -> file or folder of it."""

    name: str
    folder: str
    module: str
    package: str
    kept: Mapping[str, str]

    @property
    def sources(self) -> Path:
        return HERE / self.folder

    @property
    def version(self) -> str:
        """Such as "v0.9.0", from go.mod."""
        found = re.search(rf"{self.module} (v\S+)", (self.sources / "go.mod").read_text())
        if found is None:
            raise BuildFailed(f"go.mod does not name {self.module}")
        return found[1]

    @property
    def bin_dir(self) -> Path:
        """Where the program of these sources is, or will be."""
        digest = hashlib.sha256(repr((FLAGS, self.package, sorted(self.kept.items()))).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.sources / name).read_bytes())
        return cache() / "controllers" / digest.hexdigest()[:20]


LWS = Controller(
    name="LeaderWorkerSet",
    folder="lws",
    module="sigs.k8s.io/lws",
    package="sigs.k8s.io/lws/cmd",
    kept={"crd": "config/crd/bases", "webhooks.yaml": "config/webhook/manifests.yaml"},
)
KUEUE = Controller(
    name="Kueue",
    folder="kueue",
    module="sigs.k8s.io/kueue",
    package="sigs.k8s.io/kueue/cmd/kueue",
    kept={
        "crd": "config/components/crd/bases",
        "conversion": "config/components/crd/patches",
        "webhooks.yaml": "config/components/webhook/manifests.yaml",
        "scopes.yaml": "config/components/webhook/kustomization.yaml",
        "config.yaml": "config/components/manager/controller_manager_config.yaml",
    },
)
ALL = {c.folder: c for c in (LWS, KUEUE)}


def ensure(wanted: Controller, progress: Progress = silent) -> Path:
    """The folder with program and definitions; builds when needed, one builder at a time.

    Raises BuildFailed with a text for the developer.
    """
    began = time.monotonic()

    def tell(percent: float, text: str) -> None:
        progress(wanted.folder, percent, time.monotonic() - began, text)

    if not wanted.bin_dir.exists():  # it appears by one rename
        with exclusive(
            cache() / "controllers" / "lock", lambda: tell(0.0, "another build is running")
        ):
            if not wanted.bin_dir.exists():
                _build(wanted, tell)
    tell(100.0, f"{wanted.name} {wanted.version} is built")
    return wanted.bin_dir


def _build(wanted: Controller, tell: Callable[[float, str], None]) -> None:
    try:
        go = str(find_go())
    except NoToolchain as exc:
        raise BuildFailed(str(exc)) from exc
    env = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    tell(1.0, "downloading Go modules")
    packages = list_packages(go, env, wanted.sources, (wanted.package,))
    with tempfile.TemporaryDirectory(dir=wanted.bin_dir.parent, prefix="build-") as scratch:
        fresh = Path(scratch) / "bin"
        fresh.mkdir()
        argv = [go, "build", "-v", "-o", str(fresh / MANAGER), *FLAGS, wanted.package]
        compile_packages(argv, env, wanted.sources, packages, tell)
        module = _unpacked(go, env, wanted)
        for name, path in wanted.kept.items():
            _keep(module / path, fresh / name)
        fresh.replace(wanted.bin_dir)


def _unpacked(go: str, env: dict[str, str], wanted: Controller) -> Path:
    """Its module, as Go keeps it."""
    argv = [go, "list", "-m", "-f", "{{.Dir}}", wanted.module]
    done = subprocess.run(
        argv, cwd=wanted.sources, env=env, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def _keep(source: Path, target: Path) -> None:
    """Go keeps modules read-only; what is kept of them can be removed."""
    if source.is_file():
        shutil.copyfile(source, target)
        return
    target.mkdir()
    for found in source.glob("*.yaml"):
        shutil.copyfile(found, target / found.name)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("controllers", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}")
    chosen = parser.parse_args().controllers or list(ALL)
    if unknown := sorted(set(chosen) - set(ALL)):
        parser.error(f"unknown: {', '.join(unknown)}")
    for name in chosen:
        try:
            print(json.dumps({"bin": str(ensure(ALL[name], JsonLines()))}), flush=True)
        except BuildFailed as exc:
            print(json.dumps({"stage": name, "error": str(exc)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
