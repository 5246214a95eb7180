"""A real vLLM on CPU in an environment of its own: python -m sandbox.engines.vllm_env [--check]

It lies in ${XDG_CACHE_HOME:-~/.cache}/quartermaster/engine/DIGEST/ with the tiny model. Prints JSON
lines {"stage": "engine", "percent", "elapsed", "text"}; --check only says what would happen.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox import bootstrap
from sandbox.engines import tiny_model
from sandbox.locking import exclusive
from sandbox.process import Process, wait_until

VLLM_VERSION = "0.32.0"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements" / "engine.txt"
PYTHONS = ((3, 11), (3, 13))  # first and last that have wheels
DISK_GB, INSTALLED_GB, DOWNLOAD_GB = 9.0, 5.1, 3.0  # free before; taken afterwards; on the wire
MEMORY_GB = 8.0  # available; each replica takes 2.4 GB
VERIFY_SECONDS = 300.0  # the first start compiles all of its modules
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # With this and the executor below there is no worker process: ready in a third of the time,
    # 0.5 GB less. Only offline use of vLLM reads it otherwise.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
# Random weights on one thread: these win over what a release says about loading.
ALWAYS = [
    *("--load-format", "dummy", "--dtype", "float32", "--enforce-eager"),
    *("--distributed-executor-backend", "uni"),
]
MODEL_PATH = "/models/tiny"  # as a release names it

# percent (0..100), seconds since the start, one sentence
Progress = Callable[[float, float, str], None]


class Impossible(Exception):
    """A real vLLM cannot run here; the text says why and what would help."""


@dataclass(frozen=True)
class Installed:
    root: Path

    @property
    def vllm(self) -> Path:
        return self.root / "venv" / "bin" / "vllm"

    @property
    def model(self) -> Path:
        return self.root / "models" / "tiny"

    def environment(self) -> dict[str, str]:
        """Variables that the program needs."""
        # The distribution is called vllm-cpu, and vLLM asks for the version of "vllm".
        return ENVIRONMENT | {"PYTHONPATH": str(self.root / "shim")}


def silent(percent: float, elapsed: float, text: str) -> None:
    """A progress callback that tells nobody."""


def home() -> Path:
    """Where the environment of these requirements is, or will be."""
    parts = [REQUIREMENTS.read_bytes(), sys.version.encode(), tiny_model.digest().encode()]
    return bootstrap.cache() / "engine" / hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def installed() -> Installed | None:
    """The working environment, or None."""
    return Installed(home()) if (home() / "verified").exists() else None


def image_entry() -> dict[str, object]:
    """What stands behind the image vllm-cpu in the image table (see sandbox.cluster.images)."""
    found = Installed(home())
    return {
        "command": [str(found.vllm), "serve"],
        "python": str(found.root / "venv" / "bin" / "python"),
        "append": [*ALWAYS, "--host", "{pod_ip}"],
        "env": found.environment(),
        "paths": {MODEL_PATH: str(found.model)},
    }


def check() -> str:
    """One sentence that says what an installation takes; raises Impossible."""
    problem = _wrong_platform() or _too_little_room()
    if problem:
        raise Impossible(problem + " The stand-in engine works everywhere: QM_ENGINE=standin.")
    return (
        f"vLLM {VLLM_VERSION} on CPU takes {INSTALLED_GB:.1f} GB in {home().parent} "
        f"({DOWNLOAD_GB:.0f} GB are downloaded) and 2.4 GB of memory for each replica"
    )


def _wrong_platform() -> str | None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"vLLM on CPU has wheels for Linux x86_64, this is {platform.platform()}."
    version = sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        return f"vLLM on CPU needs Python 3.11 to 3.13, this is {platform.python_version()}."
    if " avx2" not in Path("/proc/cpuinfo").read_text():
        return "vLLM on CPU needs a processor with AVX2."
    return None


def _too_little_room() -> str | None:
    folder = bootstrap.cache()
    folder.mkdir(parents=True, exist_ok=True)
    disk, memory = shutil.disk_usage(folder).free / 2**30, available_memory_gb()
    if installed() is None and disk < DISK_GB:
        return f"vLLM on CPU needs {DISK_GB:.0f} GB free in {folder}, {disk:.1f} GB are."
    if memory < MEMORY_GB:
        return f"vLLM on CPU needs {MEMORY_GB:.0f} GB of memory, {memory:.1f} GB are available."
    return None


def available_memory_gb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def ensure(progress: Progress = silent) -> Installed:
    """Install what is missing and prove that the program starts.

    Raises Impossible with a text for the operator.
    """
    began = time.monotonic()

    def tell(percent: float, text: str) -> None:
        progress(percent, time.monotonic() - began, text)

    tell(0, check())
    if installed() is None:

        def waiting() -> None:
            tell(0, "another process is installing it; waiting")

        with exclusive(home().parent / "lock", waiting):
            if installed() is None:
                _make(Installed(home()), tell)
    tell(100, f"vLLM {VLLM_VERSION} on CPU is installed")
    return Installed(home())


def _make(target: Installed, tell: Callable[[float, str], None]) -> None:
    tell(1, "making the environment")
    _install(target, tell)
    tiny_model.write(target.model)
    tell(80, "starting it once")
    _verify(target)
    (target.root / "verified").write_text("")


def _install(target: Installed, tell: Callable[[float, str], None]) -> None:
    venv = target.root / "venv"
    shutil.rmtree(target.root, ignore_errors=True)  # a half-made one of an earlier attempt
    target.root.mkdir(parents=True)
    uv = str(bootstrap.uv())
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)])
    argv = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(venv / "bin/python")]
    log = target.root / "install.log"
    with log.open("wb") as out:
        install = subprocess.Popen([*argv, str(REQUIREMENTS)], stdout=out, stderr=out)
        total = _count_requirements()
        try:
            while install.poll() is None:
                done = len(list(venv.glob("lib/python3*/site-packages/*.dist-info")))
                text = f"downloading and installing: {done} of {total} packages"
                tell(2 + 78 * min(1.0, done / total), text)
                time.sleep(1)
        finally:
            install.kill()
    if install.returncode != 0:
        raise Impossible(f"vLLM on CPU could not be installed: {log.read_text()[-600:].strip()}")
    shim = target.root / "shim" / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    shim.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n"
    (shim / "METADATA").write_text(metadata)


def _count_requirements() -> int:
    lines = REQUIREMENTS.read_text().splitlines()
    return sum("==" in line and "'never'" not in line for line in lines if line[:1].isalnum())


def _verify(target: Installed) -> None:
    """Start it and get one answer; this also compiles its 10,000 files for the next start."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    argv = [str(target.vllm), "serve", str(target.model), *ALWAYS, "--max-model-len", "256"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny"]
    env = {**os.environ, **target.environment()}
    engine = Process("vllm", argv, target.root / "verify.log", env=env)
    engine.start()
    try:
        wait_until("answer of vLLM", lambda: _answers(engine, port), VERIFY_SECONDS, every=0.5)
    except TimeoutError as exc:
        raise Impossible(f"{exc}. Its last words: {engine.tail(600)}") from exc
    finally:
        engine.stop(20)


def _answers(engine: Process, port: int) -> bool:
    if not engine.alive:
        raise Impossible(f"vLLM exited with {engine.poll()}: {engine.tail(600)}")
    body = json.dumps({"model": "tiny", "prompt": "hello", "max_tokens": 1}).encode()
    url = f"http://127.0.0.1:{port}/v1/completions"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return bool(json.load(response)["choices"])
    except (OSError, ValueError):
        return False


def _run(argv: list[str], timeout: float = 120) -> None:
    try:
        done = subprocess.run(argv, timeout=timeout, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired as exc:
        raise Impossible(f"{Path(argv[0]).name} did not answer within {timeout:.0f} s") from exc
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip()[-600:]
        raise Impossible(f"{Path(argv[0]).name} failed ({done.returncode}): {text}")


def _print(percent: float, elapsed: float, text: str) -> None:
    line = {"stage": "engine", "percent": round(percent, 1), "elapsed": round(elapsed, 1)}
    print(json.dumps(line | {"text": text}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="install nothing")
    try:
        if parser.parse_args().check:
            line = {"possible": True, "text": check(), "installed": installed() is not None}
            print(json.dumps(line))
            return 0
        found = ensure(_print)
    except Impossible as exc:
        print(json.dumps({"stage": "engine", "possible": False, "error": str(exc)}), flush=True)
        return 1
    print(json.dumps({"vllm": str(found.vllm), "model": str(found.model)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
