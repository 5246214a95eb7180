"""Build etcd, the control plane and kubectl once per user: python -m sandbox.controlplane.build

The result lies in ${XDG_CACHE_HOME:-~/.cache}/quartermaster/controlplane/DIGEST/, where the digest
covers the sources and the flags. Prints JSON lines {"stage", "percent", "elapsed", "text"}; the
last one has "bin".
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
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.bootstrap import cache
from sandbox.controlplane.toolchain import NoToolchain, find_go
from sandbox.locking import exclusive

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "./cmd/etcd",
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kube-scheduler",
    "k8s.io/kubernetes/cmd/kubectl",
)
BINARIES = tuple(package.rpartition("/")[2] for package in PACKAGES)
DISK_NEEDED = 6 * 2**30  # compile cache 3.1 GB, modules 0.8 GB, binaries 0.4 GB, and room
LINK_SHARE = (
    12.0  # percent that remain when every package is compiled: linking takes about that long
)

# stage, percent (0..100), seconds since the start, one sentence
Progress = Callable[[str, float, float, str], None]


class BuildFailed(Exception):
    """The build is impossible here; the text says why and what to do."""


def silent(stage: str, percent: float, elapsed: float, text: str) -> None:
    """A progress callback that tells nobody."""


def kubernetes_version() -> str:
    """Such as "v1.36.3", from go.mod."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text())
    if found is None:
        raise BuildFailed("go.mod does not name k8s.io/kubernetes")
    return found[1]


def build_flags() -> list[str]:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    # Without these the server calls itself v0.0.0-master+$Format and clients misjudge it.
    link = f"-s -w -X {base}.gitVersion={version}"
    link += f" -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    return ["-trimpath", "-buildvcs=false", "-ldflags", link]


def source_digest() -> str:
    digest = hashlib.sha256(repr((build_flags(), PACKAGES)).encode())
    for name in ("go.mod", "go.sum", "cmd/etcd/main.go"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:20]


def bin_dir() -> Path:
    """Where the binaries of these sources are, or will be."""
    return cache() / "controlplane" / source_digest()


def built() -> Path | None:
    """The folder with all binaries, or None when they have to be built."""
    # It appears by one rename, so a half-built folder is never seen.
    return bin_dir() if all((bin_dir() / name).exists() for name in BINARIES) else None


def ensure(progress: Progress = silent) -> Path:
    """The folder with the binaries; builds them when needed, one builder at a time.

    Raises BuildFailed with a text for the operator.
    """
    began = time.monotonic()
    ready = built()
    if ready is None:

        def waiting() -> None:
            text = "another build is running; waiting for it"
            progress("controlplane", 0.0, time.monotonic() - began, text)

        with exclusive(cache() / "controlplane" / "lock", waiting):
            ready = built() or _build(progress, began)
    progress(
        "controlplane",
        100.0,
        time.monotonic() - began,
        f"Kubernetes {kubernetes_version()} is built",
    )
    return ready


def _build(progress: Progress, began: float) -> Path:
    _check_disk()
    progress("controlplane", 0.0, time.monotonic() - began, "looking for Go")
    try:
        go = str(find_go())
    except NoToolchain as exc:
        raise BuildFailed(str(exc)) from exc
    target = bin_dir()
    env = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    progress("controlplane", 1.0, time.monotonic() - began, "downloading Go modules")
    packages = list_packages(go, env, HERE, PACKAGES)

    def tell(percent: float, text: str) -> None:
        progress("controlplane", percent, time.monotonic() - began, text)

    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as scratch:
        fresh = Path(scratch) / "bin"
        argv = [go, "build", "-v", "-o", f"{fresh}/", *build_flags(), *PACKAGES]
        compile_packages(argv, env, HERE, packages, tell)
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
    return target


def _check_disk() -> None:
    free = shutil.disk_usage(cache()).free
    if free < DISK_NEEDED:
        raise BuildFailed(
            f"The build of the control plane needs {DISK_NEEDED >> 30} GB in {cache()}, "
            f"{free / 2**30:.1f} GB are free. Free some, or set XDG_CACHE_HOME to a larger disk."
        )


def list_packages(go: str, env: dict[str, str], module: Path, wanted: Sequence[str]) -> int:
    """How many packages of a module's there are to compile; downloads modules on the way."""
    argv = [go, "list", "-deps", *wanted]
    done = subprocess.run(argv, cwd=module, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(
            f"Go modules cannot be loaded: {done.stderr.strip()[-800:]}. {_offline_hint()}"
        )
    return len(done.stdout.splitlines())


def compile_packages(
    argv: list[str],
    env: dict[str, str],
    module: Path,
    packages: int,
    tell: Callable[[float, str], None],
) -> None:
    """`go build -v` prints the name of each package as it is compiled; cached ones stay silent.

    `tell` is given percent and one sentence.
    """
    last: list[str] = []
    seen = 0
    with subprocess.Popen(argv, cwd=module, env=env, stderr=subprocess.PIPE, text=True) as child:
        try:
            for line in child.stderr or ():
                last = [*last[-20:], line.rstrip()]
                seen += not line.startswith("go: ")  # a download
                percent = 2.0 + (98.0 - LINK_SHARE) * min(1.0, seen / packages)
                tell(percent, f"compiled {seen} of {packages} packages")
        except BaseException:
            child.kill()  # Ctrl-C of the caller: do not go on compiling
            raise
    if child.returncode != 0:
        raise BuildFailed(
            f"go build failed ({child.returncode}): {' / '.join(last)[-800:]}. {_offline_hint()}"
        )


def _offline_hint() -> str:
    return (
        "The build needs the Go module proxy (GOPROXY) and 2 GB of memory; "
        "an existing cluster can be given by KUBECONFIG."
    )


class JsonLines:
    """Progress as JSON lines on standard output, at most four a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, stage: str, percent: float, elapsed: float, text: str) -> None:
        if percent < 100 and time.monotonic() - self._last < 0.25:
            return
        self._last = time.monotonic()
        line = {
            "stage": stage,
            "percent": round(percent, 1),
            "elapsed": round(elapsed, 1),
            "text": text,
        }
        print(json.dumps(line), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="only say whether it is built; exit status 1 when not"
    )
    if parser.parse_args().check:
        ready = built()
        print(json.dumps({"bin": str(ready) if ready else None}))
        return 0 if ready else 1
    try:
        print(json.dumps({"bin": str(ensure(JsonLines()))}), flush=True)
    except BuildFailed as exc:
        print(json.dumps({"stage": "controlplane", "error": str(exc)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
