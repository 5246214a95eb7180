"""Two API servers, one model name: releases and requests go through both, and around a lost one."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import UsageEvent
from fleet.actions import clusters
from fleet.actions.placements import set_placements
from fleet.actions.routing import publish_routing
from fleet.actions.sequences import propose_sequence
from fleet.drive.rollout import REAL
from fleet.drive.rollout import drive as drive_rollout
from fleet.drive.sequence import drive
from fleet.models import Cluster, Rollout, Service
from fleet.rules.phases import FINAL as ROLLOUT_ENDED
from fleet.rules.sequence import FINAL, Phase, StageState
from tenants.actions import changes, tenants
from tenants.actions.policy import publish_policy
from tenants.base.scope import fleet_scope, scope_of
from tenants.clients.redis import PolicyStore
from tenants.models import ChangeRequest
from tests.cluster.gateway_stage import clients
from tests.cluster.rollout_stage import BODY, PACE, RealStage, make_stage_serving
from tests.fixtures.kubernetes import until

__all__ = ["clients"]
pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

# Controllers ask an API server that was away again after up to half a minute.
PATIENT = {"startup_seconds": 90, "drain_seconds": 4, "pre_stop_seconds": 2, "teardown_seconds": 2}


@dataclass
class Both:
    east: RealStage  # `chat`, home
    west: RealStage  # `chat-west`, behind the second API server

    def propose(self):
        release = self.east.release(probes=PATIENT)
        fields = {"bake_seconds": 2, "steps": (), "soak_seconds": 2}
        sequence = self.east.act(propose_sequence, release.pk, **fields)
        change = ChangeRequest.objects.get(pk=sequence.change_id)
        with scope_of(self.east.vic):
            changes.decide(self.east.vic, change.pk, digest=change.digest, approve=True)
        return sequence

    def until(self, sequence, holds, seconds=300):
        """Pass after pass over the sequence and every open rollout, as workers and beat do."""
        ends = time.monotonic() + seconds
        while not holds(sequence):
            began = time.monotonic()
            assert began < ends, f"still {sequence.phase}: {sequence.why}"
            drive(sequence.pk)
            opened = Rollout.objects.exclude(phase__in=[p.value for p in ROLLOUT_ENDED])
            for pk in opened.values_list("pk", flat=True):
                drive_rollout(pk, REAL)
            for stage in (self.east, self.west):
                stage.observe()
            sequence.refresh_from_db()
            time.sleep(max(0.0, began + PACE - time.monotonic()))

    def state(self, sequence, stage):
        return sequence.stages.get(service=stage.service)

    def serves(self, stage):
        stage.service.refresh_from_db()
        return set(stage.fingerprints()) == {stage.service.current_release.fingerprint}


def place_west(east, cluster):
    with fleet_scope():
        examined = clusters.examine(east.olga, kubeconfig=cluster.kubeconfig.read_text())
        row = clusters.register(east.olga, examined, slug="west", region="us-1")
    service = Service.objects.create(name="chat-west", cluster=row, replicas=1, prefetch_seconds=0)
    west = RealStage(cluster, east.olga, east.vic, row, service)
    west.number = 500  # commits of its own
    first = west.roll_out(west.release(), steps=())
    assert first.phase == "succeeded", first.why
    service.refresh_from_db()
    return west


@pytest.fixture
def both(bare, second_cluster):
    east = make_stage_serving(bare, "chat", replicas=1)
    found = Both(east, place_west(east, second_cluster))
    east.act(set_placements, east.service.pk, ["chat-west"])
    yield found
    east.clear()
    found.west.clear()


def test_a_release_goes_through_both_and_around_a_lost_one(both, second_cluster):
    first = both.propose()
    both.until(first, lambda s: s.phase in FINAL)
    assert first.phase == Phase.SUCCEEDED, first.why
    assert both.serves(both.east)
    assert both.serves(both.west)
    west, east = both.state(first, both.west), both.state(first, both.east)
    assert east.rollout.created_at > west.rollout.ended_at + timedelta(seconds=2)

    second = both.propose()
    both.until(second, lambda s: both.state(s, both.west).rollout is not None)
    before = both.west.service.current_release_id
    with second_cluster.api_server_away():
        # As if it was away for two minutes already.
        long_ago = timezone.now() - timedelta(minutes=2)
        Cluster.objects.filter(slug="west").update(observed_at=long_ago)
        both.until(second, lambda s: both.state(s, both.east).state == StageState.DONE)
        west = both.state(second, both.west)
        assert (west.state, west.frozen) == (StageState.MOVING, True)
        assert "Frozen: west is lost. Last observed" in west.why
        assert second.phase == Phase.RUNNING
        assert both.serves(both.east)
        both.west.service.refresh_from_db()
        assert both.west.service.current_release_id == before
    both.until(second, lambda s: s.phase in FINAL)
    assert second.phase == Phase.SUCCEEDED, second.why
    assert both.serves(both.west)


@pytest.fixture
def stage(both):
    """Where the clients' gateway and tenant are made."""
    return both.east


@contextmanager
def gone(cluster, node):
    """API server and engines at once, as when a region is lost; back with its state at the end."""
    try:
        with cluster.api_server_away():
            cluster.fault(op="node_down", node=node, power_off=True)
            yield
    finally:
        until("the node", lambda: is_up_again(cluster, node), 60)


def is_up_again(cluster, node):
    """An API server that begins does not know for a moment what the node may do."""
    try:
        cluster.fault(op="node_up", node=node)
    except RuntimeError:
        return False
    return True


def events():
    """(outcome, reason, cluster) of each request, as it was metered."""
    columns = ("outcome", "reason", "cluster", "model", "completion_tokens", "request_id")
    with fleet_scope():
        return list(UsageEvent.objects.order_by("event_time").values(*columns))


def test_requests_go_around_a_lost_cluster_within_the_data_policy(both, clients, settings):
    home, other = both.east.service.current_release, both.west.service.current_release

    def ask():
        clients.answers.append(clients.ask())
        return clients.answers[-1]

    def stay_at_home(*regions):
        fields = tenants.TenantFields(name="Acme", residency=list(regions))
        both.east.act(tenants.change_tenant, "acme", fields=fields)
        publish_policy(PolicyStore(settings.REDIS_URL))

    for _ in range(5):
        assert ask() == (200, home.fingerprint, True)
    with gone(both.east.cluster, "l40s-1"):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: clients.ask(), range(24)))
        clients.answers += found
        assert found == [(200, other.fingerprint, True)] * 24
        stay_at_home("local-1")
        # Home's engines are still in the snapshot, which nobody can renew, and cannot be reached.
        until("a refusal", lambda: ask()[0] == 502, 30)
        assert {ask() for _ in range(5)} == {(502, None, False)}
        stay_at_home()
        until("an answer", lambda: ask()[0] == 200, 30)

    def at_home():
        both.east.observe()
        publish_routing()
        return ask() == (200, home.fingerprint, True)

    until("home answers again", at_home, 120)

    asked = len(clients.answers)
    until("all of them are metered", lambda: len(events()) >= asked, 60)
    rows = events()
    assert len({row["request_id"] for row in rows}) == len(rows) == asked
    assert {row["model"] for row in rows} == {"chat"}
    told = [(row["outcome"], row["cluster"]) for row in rows]
    whole = [status == 200 for status, _, _ in clients.answers]
    assert len([1 for outcome, _ in told if outcome in ("served", "rerouted")]) == sum(whole)
    assert told.count(("served", "local")) == sum(
        r == home.fingerprint for _, r, _ in clients.answers
    )
    assert told.count(("rerouted", "west")) == sum(
        r == other.fingerprint for _, r, _ in clients.answers
    )
    refused = [row for row in rows if row["outcome"] not in ("served", "rerouted")]
    assert {row["outcome"] for row in refused} == {"failed"}
    assert not any(row["completion_tokens"] for row in refused)
    paid = sum(row["completion_tokens"] for row in rows)
    assert paid == BODY["max_tokens"] * sum(whole)
