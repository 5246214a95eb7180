"""Replicas go after traffic has left them: gateways confirm it, what was harmed is counted."""

from datetime import timedelta
from io import StringIO

import msgspec
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from msgspec.structs import replace

from fleet.actions import rollouts as actions
from fleet.actions.traffic import record
from fleet.models import Deployment, RolloutEvent
from fleet.queries.rollout_harm import harm_of
from fleet.rules.phases import Phase
from fleet.rules.traffic import TrafficSample
from gateway.contract import keys
from gateway.contract.usage import PoolReport, WorkerReport
from tenants.actions.snapshots import note_reader
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent, Tenant
from tenants.queries.snapshots import newest_routing
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
LATEST = 10**9


@pytest.fixture
def stage():
    made = make_stage()
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    yield made
    client.flushdb()


def report(stage, version, pools=None):
    """As a worker of a gateway writes it."""
    found = WorkerReport(
        worker="gw-0", at=stage.fake.now.timestamp(), policy_version=1, routing_version=version,
        in_flight=0, spool_events=0, spool_oldest_seconds=0.0, pools=pools or {},
    )  # fmt: skip
    store = redis.Redis.from_url(settings.REDIS_URL)
    store.set(keys.report("gw-0"), msgspec.json.encode(found))


def shifted(stage):
    """Half of the traffic is on the new release."""
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    report(stage, LATEST)
    return stage.run(rollout, until={Phase.ANALYZING})


def test_replicas_go_when_every_gateway_applies_the_weights(stage):
    rollout = shifted(stage)
    report(stage, 1)
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    for _ in range(5):
        stage.step(rollout, 2)
    assert "1 of 1 gateway workers do not apply routing" in rollout.why
    new = Deployment.objects.get(release=rollout.to_release)
    assert (new.weight, new.replicas) == (0, 1), "traffic went at once, replicas wait"
    newest = newest_routing()
    assert newest is not None
    report(stage, newest.version, {f"d{new.pk}": PoolReport(in_flight=3, queued=0, limit=8)})
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    told = RolloutEvent.objects.filter(rollout=rollout, detail__replicas_new=0).last()
    assert "All 1 gateway workers apply routing" in told.why
    assert told.detail["open_new"] == 3


def test_a_gateway_that_never_applies_them_holds_it_up_for_half_a_minute(stage):
    rollout = shifted(stage)
    report(stage, 1)
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    stage.run(rollout)
    told = RolloutEvent.objects.filter(rollout=rollout, detail__replicas_new=0).last()
    assert "Not waited for beyond 30 s" in told.why
    assert rollout.phase == Phase.ROLLED_BACK


def test_without_redis_a_gateway_that_asks_the_console_is_waited_for(stage, monkeypatch):
    """After 6 s the replicas went, whatever it applied: on a busy machine under its requests."""
    rollout = shifted(stage)
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1")
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    for _ in range(8):
        note_reader("gw-0", 1, stage.fake.now)
        stage.step(rollout, 2)
    assert "1 of 1 gateway workers do not apply routing" in rollout.why
    new = Deployment.objects.get(release=rollout.to_release)
    assert (new.weight, new.replicas) == (0, 1)
    newest = newest_routing()
    assert newest is not None
    note_reader("gw-0", newest.version, stage.fake.now)
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    told = RolloutEvent.objects.filter(rollout=rollout, detail__replicas_new=0).last()
    assert "All 1 that ask the console: gateway workers apply routing" in told.why


def test_the_old_release_shrinks_when_gateways_apply_the_weights(stage):
    rollout = shifted(stage)
    stage.run(rollout, until={Phase.PROMOTING})
    report(stage, 1)
    for _ in range(60):
        stage.step(rollout, 2)
        report(stage, 1)
        if "do not apply routing" in rollout.why:
            break
    assert "1 of 1 gateway workers do not apply routing" in rollout.why
    assert stage.fake.serving(rollout.from_release.fingerprint) > 0
    report(stage, LATEST)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED


def sample(stage, rollout, **changes):
    fields = {
        "at": stage.fake.now, "tenant_id": 1, "service_id": stage.service.pk,
        "release_id": rollout.to_release_id, "traffic_class": "interactive", "outcome": "served",
        "ttft_ms": 40.0, "took_ms": 500.0,
    }  # fmt: skip
    with fleet_scope():
        record([TrafficSample(**(fields | changes))], now=stage.fake.now)


def test_it_is_over_when_a_window_had_no_request_to_the_new_release(stage):
    rollout = shifted(stage)
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    for _ in range(30):
        stage.step(rollout)
        sample(stage, rollout, took_ms=0.0)  # a gateway that does not know better
    assert rollout.phase == Phase.ROLLING_BACK
    assert f"{rollout.to_release} got its last request" in rollout.why
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK
    assert f"{rollout.to_release} got 0 requests for 1" in rollout.why


def test_harm_is_counted_by_tenant_with_how_it_ended(stage):
    with fleet_scope():
        acme = Tenant.objects.create(slug="acme", name="Acme")
        globex = Tenant.objects.create(slug="globex", name="Globex")
    stage.tenants = {acme.pk: 1.0}
    rollout = shifted(stage)
    cut = {"outcome": "failed", "reason": "upstream_error"}
    sample(stage, rollout, tenant_id=acme.pk, **cut)
    sample(stage, rollout, tenant_id=acme.pk, **cut | {"ttft_ms": None})
    sample(stage, rollout, tenant_id=globex.pk, outcome="timed_out", reason="queue_time")
    sample(stage, rollout, tenant_id=acme.pk, release_id=rollout.from_release_id, **cut)
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    stage.step(rollout, 1)
    left = rollout.new_left_at
    aborted = {"outcome": "failed", "reason": "upstream_abort", "tenant_id": globex.pk}
    sample(stage, rollout, at=left + timedelta(seconds=2), took_ms=3000.0, **aborted)
    sample(stage, rollout, at=left + timedelta(seconds=1.5), took_ms=500.0)
    stage.run(rollout)
    found = stage.act(harm_of, rollout.pk)
    assert (found.requests, found.cut) == (3, 2)
    assert found.tally == (("acme", 2), ("globex", 1))
    (drain,) = found.drains
    assert (drain.release, drain.lag_seconds, drain.drain_seconds) == (
        str(rollout.to_release),
        1,
        2,
    )
    assert (drain.served, drain.ends.aborted, drain.ends.cut) == (1, 1, 1)
    out = StringIO()
    call_command("rollout", "show", str(rollout.pk), stdout=out)
    assert "harm: 3 requests broken, 2 cut mid-stream" in out.getvalue()
    assert "last request sent 1.0 s later, last answer 2.0 s later" in out.getvalue()


def test_usage_that_comes_after_the_end_still_counts(stage):
    rollout = shifted(stage)
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    stage.run(rollout)
    at = rollout.new_left_at - timedelta(seconds=1)
    bad = {"outcome": "failed", "reason": "upstream_error"}
    before = stage.act(harm_of, rollout.pk).requests
    sample(stage, rollout, at=at, **bad)
    late = replace(TrafficSample(at, 1, stage.service.pk, rollout.to_release_id, "", "failed"))
    with fleet_scope():
        record([late], now=stage.fake.now + timedelta(hours=2))
    assert stage.act(harm_of, rollout.pk).requests == before + 1


def objects(rollout, verb):
    with fleet_scope():
        found = AuditEvent.objects.get(target_id=str(rollout.pk), verb=f"rollout.{verb}")
    return found.before["objects"], found.after["objects"]


def test_the_audit_keeps_digests_of_all_objects_before_and_after(stage):
    rollout = shifted(stage)
    old, new = (f"Deployment/{d.name}" for d in Deployment.objects.order_by("id"))
    stage.act(actions.abort_rollout, rollout.pk, why="enough")
    stage.run(rollout)
    before, after = objects(rollout, "aborting")
    assert (set(before), set(after)) == ({old}, {old, new})
    assert after[new]["weight"] == 0 and after[old] == before[old]
    before, after = objects(rollout, "rolled_back")
    assert before == after, "what is declared is what was declared"
    assert (before[old]["replicas"], len(before[old]["sha256"])) == (4, 64)


def test_the_audit_of_a_success_names_what_came_and_what_went(stage):
    rollout = shifted(stage)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED
    before, after = objects(rollout, "succeeded")
    assert set(before).isdisjoint(after)
    (came,) = after.values()
    assert (came["replicas"], came["weight"]) == (4, 100)
