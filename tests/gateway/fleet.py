"""A gateway process with its stores, engines and door around it, for tests from outside."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import redis

from gateway.contract import keys
from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import ApiKey, DataPolicy, Limit, PolicySnapshot, Price, Tenant
from gateway.contract.routing import Endpoint, Objective, Pool, RoutingSnapshot, Service
from sandbox.ports import free_port
from tests.gateway.engines import Door, Engine

ROOT = Path(__file__).resolve().parents[2]
ACME_KEY = "qmk_acme0001_" + "a" * 43
GLOBEX_KEY = "qmk_globex01_" + "b" * 43
BATCH_KEY = "qmk_acme0002_" + "c" * 43
EXPIRED_KEY = "qmk_acme0003_" + "d" * 43
METRICS_TOKEN = "watcher"
PRICE = Price(version=3, prompt=1_000_000, cached=100_000, completion=2_000_000)
OBJECTIVES = {name: Objective(ttft_ms=1000, itl_ms=100, queue_ms=3000) for name in TrafficClass}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def make_key(number: int, tenant_id: int, **changes: Any) -> ApiKey:
    fields: dict[str, Any] = {
        "id": number,
        "tenant_id": tenant_id,
        "application_id": tenant_id * 10,
        "application": "chat",
        "traffic_class": TrafficClass.INTERACTIVE,
    }
    return ApiKey(**(fields | changes))


def make_tenant(number: int, slug: str, **changes: Any) -> Tenant:
    fields: dict[str, Any] = {
        "id": number,
        "slug": slug,
        "traffic_class": TrafficClass.CRITICAL,
        "models": ("tiny", "other"),
    }
    return Tenant(**(fields | changes))


def make_policy(version: int = 1, **changes: Any) -> PolicySnapshot:
    """Acme (1) and globex (2) may both use `tiny`, without limits."""
    fields: dict[str, Any] = {
        "version": version,
        "issued_at": 1.0,
        "tenants": {1: make_tenant(1, "acme"), 2: make_tenant(2, "globex")},
        "keys": {
            digest(ACME_KEY): make_key(1, 1),
            digest(GLOBEX_KEY): make_key(2, 2),
            digest(BATCH_KEY): make_key(3, 1, traffic_class=TrafficClass.BATCH),
            digest(EXPIRED_KEY): make_key(4, 1, expires_at=1.0),
        },
        "limits": (),
        "prices": {"tiny": PRICE},
    }
    return PolicySnapshot(**(fields | changes))


def make_limit(number: int = 1, tenant_id: int = 1, **changes: Any) -> Limit:
    return Limit(id=number, version=number * 10, tenant_id=tenant_id, **changes)


def make_pool(name: str, *addresses: str, **changes: Any) -> Pool:
    fields: dict[str, Any] = {
        "id": name,
        "deployment_id": 5,
        "release_id": 6,
        "release": f"rel-{name}",
        "cluster": "one",
        "region": "eu",
        "weight": 100,
        "endpoints": tuple(Endpoint(address=a, pod=f"pod-{a}") for a in addresses),
        "max_num_seqs": 2000,
    }
    return Pool(**(fields | changes))


def make_service(*pools: Pool, name: str = "tiny", **changes: Any) -> Service:
    fields: dict[str, Any] = {
        "id": 7,
        "name": name,
        "pools": pools,
        "objectives": OBJECTIVES,
        "max_queue": 2000,
    }
    return Service(**(fields | changes))


def make_routing(*services: Service, version: int = 1) -> RoutingSnapshot:
    named = {service.name: service for service in services}
    return RoutingSnapshot(version=version, issued_at=1.0, services=named)


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@dataclass
class Fleet:
    store: redis.Redis
    redis_url: str
    folder: Path
    door: Door
    engines: list[Engine] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    session: aiohttp.ClientSession | None = None
    environ: dict[str, str] = field(default_factory=dict)
    _version: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def add_engine(self, **fields: Any) -> Engine:
        engine = Engine(**fields)
        await engine.start()
        self.engines.append(engine)
        return engine

    def publish(
        self, policy: PolicySnapshot | None = None, routing: RoutingSnapshot | None = None
    ) -> None:
        """Publish as the control plane does: the document, the pointer, the bell."""
        self._version += 1
        for document, name, pointer, channel in (
            (policy, keys.policy_doc, keys.POLICY_CURRENT, keys.POLICY_CHANNEL),
            (routing, keys.routing_doc, keys.ROUTING_CURRENT, keys.ROUTING_CHANNEL),
        ):
            if document is not None:
                document = msgspec.structs.replace(document, version=self._version)
                self.store.set(name(self._version), msgspec.json.encode(document))
                self.store.set(pointer, self._version)
                self.store.publish(channel, self._version)

    async def start(self, *arguments: str) -> None:
        self.spawn(*arguments)
        if self.session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self.session = aiohttp.ClientSession(connector=connector)
        await self._until_ready()

    def spawn(self, *arguments: str) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "QM_GATEWAY_PORT": str(self.port),
            "QM_GATEWAY_NAME": "test",
            "REDIS_URL": self.redis_url,
            "QM_INGEST_URL": self.door.url,
            "QM_INGEST_TOKEN": self.door.token,
            "QM_SPOOL_DIR": str(self.folder / "spool"),
            # A busy machine must not pass for a slow store.
            "QM_GATEWAY_STORE_MS": "10000",
            "QM_GATEWAY_METRICS_TOKEN": METRICS_TOKEN,
            "QM_SALT_SECRET": "a secret of at least thirty-two characters",
        }
        command = [sys.executable, "-m", "gateway", *arguments]
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environ | self.environ, cwd=ROOT, stdout=log, stderr=log
            )

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                async with self.session.get(self.url + "/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(self.log())

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    async def metrics(self, token: str = METRICS_TOKEN) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {token}"}
        async with self.session.get(self.url + "/metrics", headers=headers) as response:
            return response.status, await response.text()

    async def post(
        self,
        body: Any,
        *,
        key: str = ACME_KEY,
        path: str = "/v1/chat/completions",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        async with self.session.post(
            self.url + path, data=raw, headers=sent | (headers or {})
        ) as response:
            seen = {name.lower(): value for name, value in response.headers.items()}
            return response.status, seen, await response.read()

    async def events(self, number: int, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until the door has that many rows, and return what they say."""
        try:
            await until(lambda: len(self.door.rows) >= number, seconds)
        except AssertionError as error:
            raise AssertionError(f"{len(self.door.rows)} of {number} came: {self.log()}") from error
        return [event["data"] for event in self.door.rows.values()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self) -> None:
        if self.session is not None:
            await self.session.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 10)
            except subprocess.TimeoutExpired:
                self.kill()
        for engine in self.engines:
            await engine.stop()


def chat(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 16,
    }
    return body | changes


ANY_DATA = DataPolicy()
