"""Prefill and decode on the real API server behind a real gateway: releases never meet."""

import json

import httpx
import pytest

from fleet.models import Deployment
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.phases import Cause, Phase
from tests.cluster.gateway_stage import clients
from tests.cluster.rollout_stage import make_real_stage
from tests.fixtures.kubernetes import DEPLOYMENTS, until

__all__ = ["clients"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(420, func_only=True),  # the cluster's start is not counted
]
POLICIES = "/apis/networking.k8s.io/v1/namespaces/models/networkpolicies"


def transfer(role):
    return f"--kv-transfer-config={json.dumps({'kv_connector': 'NixlConnector', 'kv_role': role})}"


GROUP = {
    "arguments": [],
    "roles": [
        {"name": "prefill", "replicas": 1, "arguments": [transfer("kv_producer")]},
        {"name": "decode", "replicas": 1, "arguments": [transfer("kv_consumer")]},
    ],
}


@pytest.fixture
def stage(cluster):
    """One replica of two pods; the node of four GPUs has room for one more."""
    found = make_real_stage(cluster, "chat", replicas=1)
    yield found
    found.clear()


class Watched:
    """Traffic through the gateway; after each round every engine is asked whom it met."""

    def __init__(self, stage, clients):
        self.stage, self.clients = stage, clients
        self.told = {}  # by pod: role, release, what it counted
        stage.pump = self.pump

    def pump(self):
        self.clients.pump(12)
        for pod in self.stage.pods():
            labels, address = pod["metadata"]["labels"], pod["status"].get("podIP")
            try:
                answer = httpx.get(f"http://{address}:9900/admin/kv", timeout=5, trust_env=False)
            except httpx.TransportError:
                continue  # it does not run yet, or no more
            self.told[pod["metadata"]["name"]] = (labels[ROLE], labels[RELEASE], answer.json())

    def met(self, release, role):
        """What engines of this release and role counted together, and the domains they met."""
        found = [
            told for of, by, told in self.told.values() if (of, by) == (role, release.fingerprint)
        ]
        counts = sum(t["counts"].get("fetched", 0) + t["counts"].get("given", 0) for t in found)
        return counts, {domain for t in found for domain in t["peers"]}

    @property
    def refused(self):
        return sum(told["counts"].get("refused", 0) for _, _, told in self.told.values())


def serve_first(stage):
    first = stage.roll_out(stage.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    stage.service.refresh_from_db()
    return stage.service.current_release


def deployments(stage):
    """Pods wanted by role, of each release."""
    items = stage.cluster.console.get(DEPLOYMENTS)["items"]
    return {
        (d["metadata"]["labels"][RELEASE], d["metadata"]["labels"][ROLE]): d["spec"]["replicas"]
        for d in items
        if d["metadata"]["labels"].get("app.kubernetes.io/instance") == stage.service.name
    }


def fences(stage):
    names = (p["metadata"]["name"] for p in stage.cluster.admin.get(POLICIES)["items"])
    return {name for name in names if name.startswith("chat-")}


def test_a_release_of_two_roles_rolls_under_traffic_and_no_blocks_cross(stage, clients):
    old = serve_first(stage)
    watched = Watched(stage, clients)
    watched.pump()
    clients.answers.clear()
    rollout = stage.roll_out(stage.release(**GROUP))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    new = rollout.to_release
    assert {status for status, _, _ in clients.answers} == {200}
    assert all(whole for _, _, whole in clients.answers)
    assert {release for _, release, _ in clients.answers} == {old.fingerprint, new.fingerprint}
    assert watched.refused == 0
    for release in (old, new):
        for role in ("prefill", "decode"):
            blocks, domains = watched.met(release, role)
            assert blocks > 0 and domains == {release.fingerprint}, (release, role)
    assert deployments(stage) == {
        (new.fingerprint, "prefill"): 1, (new.fingerprint, "decode"): 1,
    }  # fmt: skip
    until("only its own fence", lambda: fences(stage) == {f"chat-{new.digest[:8]}-kv"}, 60)


def test_it_returns_as_one_when_the_pods_of_one_role_fail(stage, clients):
    old = serve_first(stage)
    watched = Watched(stage, clients)
    # The port on which prefill hands blocks over is taken: only that role cannot start.
    bad = stage.release(**GROUP, environment={"VLLM_NIXL_SIDE_CHANNEL_PORT": "8000"})
    rollout = stage.roll_out(bad)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert "prefill" in rollout.why
    assert {(status, release) for status, release, _ in clients.answers} == {(200, old.fingerprint)}
    assert watched.refused == 0
    assert deployments(stage) == {
        (old.fingerprint, "prefill"): 1, (old.fingerprint, "decode"): 1,
    }  # fmt: skip
    row = Deployment.objects.get(release=old)
    assert (row.replicas, row.weight) == (1, 100)
