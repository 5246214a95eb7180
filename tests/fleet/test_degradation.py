"""Findings on the database: opened, told anew, closed; and what the causes are ranked by."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from fleet.actions.degradation import OVER_AFTER, find
from fleet.actions.traffic import record, record_copies
from fleet.actions.trimming import trim
from fleet.models import (
    EngineProbe,
    EngineSample,
    Finding,
    Node,
    ObservedPod,
    Rollout,
    TrafficSlot,
)
from fleet.queries.engines import increase, token_counters
from fleet.rules.traffic import TrafficSample
from tenants.actions.audit import record as audit
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.models import Quota, Tenant
from tenants.rules.access import system_viewer
from tests.fleet.makers import (
    NOW,
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)


@pytest.fixture
def acme(db):
    with fleet_scope():
        return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def globex(db):
    with fleet_scope():
        return Tenant.objects.create(slug="globex", name="Globex")


@pytest.fixture
def chat(db):
    cluster = make_cluster(observed_at=NOW)
    service = make_service(cluster=cluster)
    deployment = make_deployment(service, make_release(service), cluster)
    Node.objects.create(
        cluster=cluster,
        name="h100-1",
        ready=True,
        changed_at=NOW,
        observed_at=NOW,
        gpus_allocatable=4,
    )
    make_pod_row(deployment)
    return deployment


def send(tenant, chat, n=100, at=NOW, **changes):
    one = TrafficSample(
        **{
            "at": at,
            "tenant_id": tenant.pk,
            "service_id": chat.service_id,
            "release_id": chat.release_id,
            "traffic_class": "interactive",
            "outcome": "served",
            "ttft_ms": 80.0,
            "itl_ms": 8.0,
            "queue_ms": 1.0,
            "prompt_tokens": 10,
            "completion_tokens": 10,
        }
        | changes
    )
    with fleet_scope():
        record([one] * n, now=NOW)


def findings():
    with fleet_scope():
        return list(Finding.objects.order_by("id"))


def sampled(chat, **changes):
    for seconds in (100, 50, 5):
        EngineSample.objects.create(
            pod_uid="uid-chat-1",
            service_id=chat.service_id,
            release_id=chat.release_id,
            at=NOW - timedelta(seconds=seconds),
            **changes,
        )


def test_it_finds_nothing_while_all_is_well(acme, chat):
    send(acme, chat)
    assert find(NOW) == 0
    assert not findings()


def test_it_opens_one_finding_and_tells_it_anew(acme, chat):
    send(acme, chat)
    first = NOW - timedelta(seconds=40)
    send(acme, chat, 20, first, outcome="failed", reason="upstream_error", ttft_ms=None)
    find(NOW)
    (finding,) = findings()
    assert (finding.symptom, finding.cause) == ("errors", "engine_errors")
    assert finding.started_at == first
    assert (finding.requests, finding.affected) == (120, 20)
    assert "20 of 120 requests" in finding.sentence
    send(acme, chat, 20, outcome="failed", reason="upstream_error", ttft_ms=None)
    find(NOW + timedelta(seconds=30))
    (again,) = findings()
    assert (again.pk, again.affected, again.started_at) == (finding.pk, 40, first)


def test_it_closes_a_finding_some_time_after_it_is_over(acme, chat):
    send(acme, chat, 20, outcome="failed", reason="upstream_error")
    find(NOW)
    later = NOW + timedelta(minutes=10)
    find(NOW + OVER_AFTER - timedelta(seconds=1))
    assert findings()[0].ended_at is None
    find(later)
    assert findings()[0].ended_at == findings()[0].seen_at < later
    send(acme, chat, 20, later, outcome="failed", reason="upstream_error")
    find(later)
    assert [f.ended_at is None for f in findings()] == [False, True]


def test_it_shows_a_tenant_its_own_findings_only(acme, globex, chat):
    send(acme, chat, 20, outcome="failed", reason="upstream_error")
    send(globex, chat, 20, outcome="shed", reason="pool_full")
    find(NOW)
    with tenant_scope(globex.pk):
        assert [f.symptom for f in Finding.objects.all()] == ["shed"]


def first_cause(acme, chat):
    find(NOW)
    return {f.symptom: f for f in findings() if f.tenant_id == acme.pk}


def test_it_names_a_lost_node(acme, chat):
    Node.objects.update(ready=False)
    send(acme, chat, 50, outcome="shed", reason="no_endpoint", release_id=0, ttft_ms=None)
    found = first_cause(acme, chat)["shed"]
    assert found.cause == "replicas"
    assert "0 of 1 replicas take traffic (node h100-1 is not ready)" in found.sentence


def test_it_names_a_crash_loop(acme, chat):
    ObservedPod.objects.update(ready=False, reason="CrashLoopBackOff")
    send(acme, chat, 50, outcome="shed", reason="no_endpoint", release_id=0, ttft_ms=None)
    assert "chat-1: CrashLoopBackOff" in first_cause(acme, chat)["shed"].sentence


def test_it_names_full_engines(acme, chat):
    sampled(chat, waiting=30.0, running=8.0, kv_usage=0.99)
    send(acme, chat, ttft_ms=8000.0)
    send(acme, chat, 1200, NOW - timedelta(minutes=20))  # no more than before
    found = first_cause(acme, chat)["ttft"]
    assert found.cause == "saturation"
    assert "30 requests wait on 1 engines" in found.sentence


def test_it_names_the_neighbour_to_operators_only(acme, globex, chat):
    sampled(chat, waiting=30.0, kv_usage=0.99)
    send(acme, chat, ttft_ms=8000.0)
    send(acme, chat, 1000, NOW - timedelta(minutes=20))
    send(globex, chat, 300, traffic_class="batch", prompt_tokens=5000)
    found = first_cause(acme, chat)["ttft"]
    assert found.cause == "neighbour"
    assert "globex" not in found.sentence
    evidence = found.evidence[0]["evidence"]
    assert [e["label"] for e in evidence if e["fleet_only"]] == ["globex, batch"]


def test_it_names_a_slow_canary(acme, chat):
    release = make_release(chat.service, 2, "b" * 64)
    rollout = Rollout.objects.create(
        service=chat.service,
        cluster=chat.cluster,
        from_release=chat.release,
        to_release=release,
        plan_kind="surge_canary",
        plan={},
        steps=[],
        replicas=1,
        phase="analyzing",
        phase_since=NOW,
        started_at=NOW - timedelta(minutes=2),
    )
    send(acme, chat)
    send(acme, chat, release_id=release.pk, ttft_ms=9000.0)
    found = first_cause(acme, chat)["ttft"]
    assert found.cause == "rollout"
    assert f"r2, which RO-{rollout.pk} brings, is slower" in found.sentence


def test_it_names_a_lowered_quota(acme, chat):
    with fleet_scope():
        quota = Quota.objects.create(tenant=acme, tokens_per_minute=100)
        audit(
            system_viewer("olga"),
            "quota.set",
            quota,
            before={"tokens_per_minute": 400_000},
            after={"tokens_per_minute": 100},
        )
    send(acme, chat, 50, outcome="rejected", reason="tpm", release_id=0, ttft_ms=None)
    with fleet_scope():
        now = quota.valid_from  # audit rows carry the database's time
    send(acme, chat, 50, now, outcome="rejected", reason="tpm", release_id=0, ttft_ms=None)
    find(now + timedelta(seconds=1))
    found = findings()[-1]
    assert found.cause == "quota_change"
    assert "tokens a minute 400,000 → 100" in found.sentence


def test_it_counts_what_engines_counted_without_our_probes(chat):
    def seen(uid, seconds, prompt, generated):
        EngineSample.objects.create(
            pod_uid=uid,
            service_id=chat.service_id,
            release_id=chat.release_id,
            at=NOW + timedelta(seconds=seconds),
            prompt_tokens=prompt,
            generation_tokens=generated,
            cached_tokens=None,
        )

    seen("old", -60, 1000, 100)
    seen("old", 10, 1500, 160)
    seen("old", 20, 40, 4)  # it began anew
    seen("new", 30, 7, 1)
    EngineProbe.objects.create(
        pod_uid="old",
        service_id=chat.service_id,
        at=NOW,
        passed=True,
        milliseconds=1,
        prompt_tokens=4,
        completion_tokens=1,
        told="",
    )
    (found,) = token_counters(NOW, NOW + timedelta(minutes=1))
    assert (found.prompt_tokens, found.completion_tokens) == (500 + 40 + 7 - 4, 60 + 4 + 1 - 1)
    assert (found.engines, found.probe_prompt_tokens, found.cached_tokens) == (2, 4, 0)
    copy = TrafficSample(NOW, 1, chat.service_id, chat.release_id, "interactive", "served",
                         prompt_tokens=20, completion_tokens=3)  # fmt: skip
    with fleet_scope():
        record_copies([copy, replace(copy, at=NOW + timedelta(minutes=2))], now=NOW)
    (less,) = token_counters(NOW, NOW + timedelta(minutes=1))
    assert (less.copy_prompt_tokens, less.copy_completion_tokens) == (20, 3)
    assert less.prompt_tokens == found.prompt_tokens - 20
    assert less.completion_tokens == found.completion_tokens - 3


def test_it_handles_counters_that_begin_anew():
    assert increase([5, 8, 8, 2, 3]) == 3 + 2 + 1
    assert increase([7]) == 0


def test_it_trims_fine_slots_and_keeps_dashboards(acme, chat):
    send(acme, chat, 3)
    trim(NOW + timedelta(hours=9))
    with fleet_scope():
        assert list(TrafficSlot.objects.values_list("seconds", "requests")) == [(300, 3)]
    trim(NOW + timedelta(days=121))
    with fleet_scope():
        assert not TrafficSlot.objects.exists()
