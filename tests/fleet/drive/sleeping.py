"""What tests of sleep do and look at: a gateway's report, a look of the console, a request."""

from datetime import timedelta

import msgspec

from fleet.actions.traffic import record
from fleet.drive import scaling as driving
from fleet.drive.keep import keep
from fleet.models import Cluster, Deployment, EngineSample
from fleet.queries.routing import build_routing
from fleet.queries.scaling import find_policy
from fleet.queries.services import get_service
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds
from fleet.rules.sleep import Sleep
from fleet.rules.traffic import TrafficSample
from gateway.contract import keys
from gateway.contract.usage import WorkerReport
from tenants.base.scope import fleet_scope, scope_of

SLEEP = Sleep(idle=timedelta(minutes=5), wait=timedelta(minutes=3), most=10)
POLICY = Policy(Bounds(0, 6), target=10, stable=timedelta(seconds=30), sleep=SLEEP)


def report(store, stage, *, waiting=0, **changes):
    """As a gateway worker writes it."""
    fields = {
        "worker": "w1", "at": 1.0, "policy_version": 1, "routing_version": 1, "in_flight": waiting,
        "spool_events": 0, "spool_oldest_seconds": 0.0, "pools": {},
        "waking": {stage.service.pk: waiting} if waiting else {},
    }  # fmt: skip
    store.set(keys.report("w1"), msgspec.json.encode(WorkerReport(**(fields | changes))))


def look(stage, policy, seconds=15, running=0.0):
    stage.fake.tick(seconds)
    stage.observe()
    now = stage.fake.now
    Cluster.objects.update(observed_at=now)
    EngineSample.objects.bulk_create(
        EngineSample(pod_uid=uid, service=stage.service, release_id=1, at=now, running=running,
                     waiting=0)
        for uid in stage.fake.pods
    )  # fmt: skip
    return driving.scale(policy.pk, stage.outside)


def ask(stage, outcome="served", reason=""):
    now = stage.fake.now
    sample = TrafficSample(now, 1, stage.service.pk, 0, "interactive", outcome, reason)
    with fleet_scope():
        record([sample], now=now)


def put_to_sleep(stage, policy):
    ask(stage)
    decision = look(stage, policy, seconds=320)
    assert decision.given == 0, decision.why
    keep(Deployment.objects.get(weight=100).pk, stage.outside)
    for _ in range(10):
        stage.fake.tick()
    stage.observe()
    return decision


def live(stage, row):
    return stage.fake.deployments[row.name]["spec"]["replicas"]


def state(stage):
    with scope_of(stage.olga):
        return find_policy(stage.olga, stage.service.pk, stage.fake.now)


def health(stage):
    Cluster.objects.update(observed_at=stage.fake.now)
    with scope_of(stage.olga):
        return get_service(stage.olga, stage.service.pk, stage.fake.now).service


def room(stage):
    return build_routing(stage.fake.now).services["chat"].waiting_room
