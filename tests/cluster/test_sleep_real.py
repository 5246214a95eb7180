"""A service sleeps on the real API server, and its first request at a real gateway wakes it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from billing.models import UsageEvent
from fleet.actions.routing import publish_routing
from fleet.actions.scaling import set_policy
from fleet.clients.bells import GatewayBells
from fleet.clients.signals import Engines
from fleet.drive.keep import keep
from fleet.drive.scaling import scale, sleeping
from fleet.drive.signals import scrape
from fleet.models import Deployment, Drift, ScalingDecision, ScalingPolicy
from fleet.queries.gateways import read_gateways
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds
from fleet.rules.sleep import Sleep
from gateway.contract.usage import waking_ms
from tenants.base.scope import fleet_scope
from tests.cluster.gateway_stage import clients
from tests.cluster.rollout_stage import make_stage_serving
from tests.fixtures.kubernetes import until

__all__ = ["clients"]
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
SLEEP = Sleep(idle=timedelta(seconds=10), wait=timedelta(minutes=4), most=8)
POLICY = Policy(Bounds(0, 2), target=4, sleep=SLEEP)


@pytest.fixture
def stage(cluster):
    found = make_stage_serving(cluster, "chat", replicas=1)
    yield found
    found.clear()


@pytest.fixture
def look(stage):
    """As observer, beat and workers do beside each other."""
    row = Deployment.objects.get(replicas__gt=0)
    with ThreadPoolExecutor(4) as pool:
        engines = Engines()

        def once():
            stage.observe()
            scrape(engines, pool, timezone.now())
            decision = scale(ScalingPolicy.objects.get().pk)
            keep(row.pk)
            publish_routing()
            return decision

        yield once
        engines.close()


def gateways_know():
    workers = read_gateways(timezone.now()).workers
    return workers and not any(w.routing_behind for w in workers)


def test_it_sleeps_and_its_first_request_wakes_it_and_is_answered(stage, clients, look):
    release = stage.service.current_release
    assert clients.ask() == (200, release.fingerprint, True)
    policy = stage.act(set_policy, stage.service.pk, None, POLICY)
    until("no pod is left", lambda: look().given == 0 and not stage.pods(), 240)
    stage.observe()
    assert not Drift.objects.filter(ended_at=None).exists()
    publish_routing()
    until("the gateway knows", gateways_know, 30)

    bells = GatewayBells(settings.REDIS_URL)
    assert bells.heard(0.1) == set()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        asked = pool.submit(clients.ask)
        heard = bells.heard(20)
        rung = time.monotonic() - began
        assert sleeping(heard) == [policy.pk]
        until("an answer", lambda: look() and asked.done(), 240)
        took = time.monotonic() - began
    bells.close()
    assert asked.result() == (200, release.fingerprint, True)
    print(f"rung after {rung:.2f} s, answered after {took:.1f} s")

    until("it is awake", lambda: look() and not ScalingPolicy.objects.get().slept_at, 30)
    changes = ScalingDecision.objects.filter(changed=True).order_by("at")
    assert [(d.declared, d.given) for d in changes] == [(1, 0), (0, 1)]
    print("\n".join(d.why for d in changes))
    with fleet_scope():
        kept = UsageEvent.objects.order_by("event_time").values_list("outcome", "modifiers")
        until("the gateway shipped both", lambda: kept.count() >= 2, 30)
        events = list(kept)
    assert [outcome for outcome, _ in events] == ["served", "served"]
    waits = [waking_ms(modifiers) for _, modifiers in events]
    assert waits[0] is None
    assert 0 < waits[1] <= took * 1000
