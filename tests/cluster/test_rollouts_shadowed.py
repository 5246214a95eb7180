"""A shadow on real engines behind a real gateway: what is slow is seen before anybody meets it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from billing.models import UsageEvent
from fleet.actions.routing import publish_routing
from fleet.models import GateResult, ShadowSlot, TrafficSlot
from fleet.rules.phases import Cause, Phase
from fleet.rules.plan import StepPlan
from tenants.actions import applications, keys, tenants, tokens
from tenants.actions.policy import publish_policy
from tenants.base.scope import fleet_scope
from tenants.clients.redis import PolicyStore
from tenants.rules.keys import Wish
from tests.cluster.rollout_stage import BODY, ONE_STEP, make_stage_serving
from tests.gateway.fleet import ROOT, free_port

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),  # the cluster's start is not counted
]
SHADOW = StepPlan(50, 5, 20, shadow=True)


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
            timeout=30,
            trust_env=False,
        )
        return answer.status_code, answer.headers.get("x-gw-release"), "[DONE]" in answer.text


@pytest.fixture
def stage(cluster):
    found = make_stage_serving(cluster, "chat")
    yield found
    found.clear()


@pytest.fixture
def clients(stage, live_server, settings, tmp_path):
    """A gateway that reports to this console, and a tenant with a key."""
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
        "QM_INGEST_URL": f"{live_server.url}/api/v1/usage/events",
        "QM_INGEST_TOKEN": token,
        "QM_SPOOL_DIR": str(tmp_path / "spool"),
        "QM_GATEWAY_STORE_MS": "10000",
        "QM_SALT_SECRET": "a secret of at least thirty-two characters",
    }
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environ, cwd=ROOT)
    address = f"http://127.0.0.1:{environ['QM_GATEWAY_PORT']}"
    try:
        wait_ready(process, address)
        yield Clients(address, key)
    finally:
        process.terminate()
        process.wait(20)


def wait_ready(process, address):
    ends = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < ends, "the gateway is not ready"
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)


def test_a_slow_release_is_seen_in_its_shadow_and_no_client_met_it(stage, clients):
    good = stage.service.current_release
    stage.pump = clients.pump
    rollout = stage.roll_out(stage.release("faulty-slow"), steps=(SHADOW, *ONE_STEP))
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    assert "as a shadow of 50 % failed" in rollout.why
    assert set(clients.answers) == {(200, good.fingerprint, True)}
    bad = rollout.to_release_id
    with fleet_scope():
        copies = list(ShadowSlot.objects.filter(release_id=bad, seconds=10))
        assert sum(c.requests for c in copies) >= 20
        assert sum(c.completion_tokens for c in copies) > 0
        assert not TrafficSlot.objects.filter(release_id=bad).exists()
        billed = set(UsageEvent.objects.values_list("release_id", flat=True))
    assert billed == {good.pk}
    gate = GateResult.objects.get(rollout=rollout)
    assert (gate.step, gate.verdict) == (0, "fail")
    assert any(
        c["metric"].startswith(("ttft", "itl")) and c["verdict"] == "fail" for c in gate.checks
    )
    assert stage.fingerprints() == [good.fingerprint] * 2
