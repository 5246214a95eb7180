"""A real gateway in front of the real engines, reporting to this console; clients of acme."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from django.urls import get_resolver

from fleet.actions.routing import publish_routing
from sandbox.ports import free_port
from tenants.actions import applications, keys, tenants, tokens
from tenants.actions.policy import publish_policy
from tenants.clients.redis import PolicyStore
from tenants.rules.keys import Wish
from tests.cluster.rollout_stage import BODY
from tests.gateway.fleet import ROOT


@dataclass
class Clients:
    """Of acme, all through the gateway."""

    address: str
    key: str
    answers: list = field(default_factory=list)  # status, release, whether it was whole

    def pump(self, requests=20):
        publish_routing()
        with ThreadPoolExecutor(8) as pool:
            self.answers += pool.map(lambda _: self.ask(), range(requests))

    def ask(self):
        answer = httpx.post(
            f"{self.address}/v1/completions",
            json=BODY | {"model": "chat"},
            headers={"authorization": f"Bearer {self.key}"},
            timeout=300,
            trust_env=False,
        )
        return answer.status_code, answer.headers.get("x-gw-release"), "[DONE]" in answer.text


@pytest.fixture
def clients(stage, live_server, settings, tmp_path):
    """A gateway that reports to this console, and a tenant with a key."""
    with gateway(stage, f"{live_server.url}/api/v1/usage/events", settings, tmp_path) as found:
        yield found


@contextmanager
def gateway(stage, ingest, settings, tmp_path, **environment):
    """`environment` is taken before what it would have otherwise."""
    load_views()
    fields = tenants.TenantFields(name="Acme")
    stage.act(tenants.create_tenant, slug="acme", fields=fields)
    stage.act(applications.create_application, "acme", slug="app", name="App")
    stage.act(tenants.grant_model, "acme", "chat")
    wish = Wish("ci", ("inference",), None, "interactive", None)
    _, key = stage.act(keys.create_key, "acme", "app", wish=wish)
    _, token = stage.act(tokens.create_source, name="gateway")
    publish_policy(PolicyStore(settings.REDIS_URL))
    publish_routing()
    environ = {
        "PATH": os.environ["PATH"],
        "QM_GATEWAY_PORT": str(free_port()),
        "REDIS_URL": settings.REDIS_URL,
        "QM_INGEST_URL": ingest,
        "QM_INGEST_TOKEN": token,
        "QM_SPOOL_DIR": str(tmp_path / "spool"),
        "QM_GATEWAY_STORE_MS": "10000",
        "QM_SALT_SECRET": "a secret of at least thirty-two characters",
    }
    command = [sys.executable, "-m", "gateway"]
    process = subprocess.Popen(command, env=environ | environment, cwd=ROOT)
    address = f"http://127.0.0.1:{environ['QM_GATEWAY_PORT']}"
    try:
        wait_ready(process, address)
        yield Clients(address, key)
    finally:
        process.terminate()
        process.wait(20)


def load_views():
    """As the web process does when it starts: under load the first request took longer than a
    gateway waits for an answer."""
    assert get_resolver().url_patterns


def wait_ready(process, address):
    ends = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < ends, "the gateway is not ready"
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
