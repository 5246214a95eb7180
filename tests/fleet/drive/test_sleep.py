"""A service that sleeps at 0 replicas, on the real database: to sleep, woken, and what waits."""

import threading
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from fleet.actions import rollouts, services
from fleet.actions import scaling as actions
from fleet.actions.drift import store_drift
from fleet.actions.freezes import create_freeze
from fleet.clients.bells import GatewayBells
from fleet.drive import scaling as driving
from fleet.drive.keep import due_deployments, keep
from fleet.models import Cluster, Deployment, Drift, EngineSample, Rollout, ScalingPolicy
from fleet.queries.gateways import read_gateways
from fleet.queries.plans import plan_rollout
from fleet.queries.service_states import Health
from fleet.rules.freeze import Window
from fleet.rules.phases import Phase
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds, read_hours
from fleet.rules.sleep import State
from fleet.tasks.scaling import sweep_scaling
from gateway.contract import keys
from gateway.contract.usage import PoolReport
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden
from tenants.models import AuditEvent
from tests.fleet.drive.sleeping import (
    POLICY,
    SLEEP,
    ask,
    health,
    live,
    look,
    put_to_sleep,
    report,
    room,
    state,
)
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_scaling import owned_by
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def store():
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    yield client
    client.flushdb()


@pytest.fixture
def stage(store):
    """One replica serves."""
    found = make_stage(replicas=1)
    found.observe()
    return found


@pytest.fixture
def row(stage):
    return Deployment.objects.get()


@pytest.fixture
def policy(stage):
    return stage.act(actions.set_policy, stage.service.pk, None, POLICY)


def test_it_sleeps_when_nobody_asked_for_the_idle_time(stage, row, policy):
    ask(stage)
    assert "it sleeps in" in look(stage, policy, seconds=200).why
    assert look(stage, policy, seconds=60).given == 1
    assert room(stage) is None
    decision = look(stage, policy, seconds=60)
    assert (decision.wanted, decision.given) == (0, 0)
    assert "No request for 5 min 0 s or longer: 1 → 0" in decision.why
    row.refresh_from_db()
    assert (row.replicas, row.weight) == (0, 100)
    keep(row.pk, stage.outside)
    assert live(stage, row) == 0
    for _ in range(5):
        stage.fake.tick()
    stage.observe()
    assert due_deployments() == []
    assert (state(stage).state, state(stage).waiting) == (State.SLEEPING, 0)
    with fleet_scope():
        event = AuditEvent.objects.get(verb="service.scale")
    assert (event.after, event.why) == ({"replicas": 0}, decision.why)


def test_zero_is_neither_drift_nor_down(stage, row, policy):
    put_to_sleep(stage, policy)
    store_drift(stage.cluster, list(stage.fake.deployments.values()), stage.fake.now)
    assert not Drift.objects.filter(ended_at=None).exists()
    found = health(stage)
    assert (found.health, found.sync, found.why) == (Health.SLEEPING, "in_sync", ())
    stage.fake.deployments[row.name]["spec"]["replicas"] = 2  # by hand
    owned_by(stage, row, "kubectl", 2)
    store_drift(stage.cluster, list(stage.fake.deployments.values()), stage.fake.now)
    assert Drift.objects.get(ended_at=None).declared == 0


STAYS = {
    "a request in an engine": "it does not sleep with requests in flight",
    "a request in a gateway": "gateways have 2 requests for it",
    "late usage": "gateways could not report yet",
    "gateways that nobody knows": "The gateways' queues are not known",
    "a freeze": "“Holidays” holds",
    "a budget of somebody else": "a disruption budget asks for 1",
}


@pytest.mark.parametrize("case", STAYS)
def test_it_does_not_sleep_with(case, stage, store, policy, settings):
    running = 1.0 if case == "a request in an engine" else 0.0
    if case == "a request in a gateway":
        pool = PoolReport(in_flight=2, queued=0, limit=9)
        report(store, stage, pools={f"d{Deployment.objects.get().pk}": pool})
    if case == "late usage":
        report(store, stage, spool_events=3, spool_oldest_seconds=200.0)
    if case == "gateways that nobody knows":
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
    if case == "a freeze":
        window = Window("Holidays", "nobody is up", stage.fake.now - timedelta(hours=1))
        stage.act(create_freeze, window, service_id=stage.service.pk)
    if case == "a budget of somebody else":
        labels = {"quartermaster.dev/service": "chat"}
        Cluster.objects.update(budgets=[{"name": "x", "labels": labels, "floor": 1}])
    decision = look(stage, policy, seconds=600, running=running)
    assert decision.given == 1
    assert STAYS[case] in decision.why


def test_it_does_not_sleep_within_an_hour_that_has_a_minimum(stage, policy):
    day = Policy(Bounds(0, 6), 10, hours=read_hours("Mon-Sun 00:00-24:00 min 1"), sleep=SLEEP)
    stage.act(actions.set_policy, stage.service.pk, policy.version, day)
    assert look(stage, policy, seconds=600).given == 1


def test_it_does_not_sleep_during_a_rollout(stage, policy):
    stage.propose(stage.release("b"))
    assert look(stage, policy, seconds=600).given == 1


def test_what_an_autoscaler_owns_does_not_sleep(stage, row, policy):
    owned_by(stage, row, "keda-operator", 1)
    decision = look(stage, policy, seconds=600)
    assert decision.given == 1
    assert "keda-operator" in decision.why


def test_who_may_not_ask_keeps_nothing_awake_and_who_is_shed_does(stage, policy):
    ask(stage)
    stage.fake.tick(290)
    ask(stage, "rejected", "rpm")
    assert look(stage, policy, seconds=30).given == 0
    ScalingPolicy.objects.update(slept_at=None)
    Deployment.objects.update(replicas=1)
    ask(stage, "shed", "room_full")
    assert look(stage, policy, seconds=30).given == 1


def test_what_starts_slowly_stays_awake_for_two_starts(stage, policy):
    stage.service.starts.create(
        release=stage.service.current_release, cluster=stage.cluster, seconds=400, pod_uid="x"
    )
    ask(stage)
    assert look(stage, policy, seconds=700).given == 1
    assert look(stage, policy, seconds=150).given == 0


def test_the_first_request_wakes_it_and_it_serves_again(stage, store, row, policy):
    put_to_sleep(stage, policy)
    assert "Sleeps. The first request wakes it" in look(stage, policy).why
    assert (room(stage).most, room(stage).wait_seconds, room(stage).since) == (10, 180.0, None)
    report(store, stage, waiting=3)
    decision = look(stage, policy)
    assert decision.given == 1
    assert "It slept, and gateways have 3 requests for it: 1 replica wanted. 0 → 1" in decision.why
    woken = stage.fake.now
    assert room(stage).since == woken.timestamp()
    assert (state(stage).state, state(stage).waiting) == (State.WAKING, 3)
    assert "3 requests wait for it, of 10 at most" in state(stage).told
    assert health(stage).health is Health.WAKING
    assert health(stage).is_moving
    for _ in range(12):
        keep(row.pk, stage.outside)
        look(stage, policy, seconds=5)
    assert live(stage, row) == 1
    found = state(stage)
    assert (found.state, found.slept_at, found.woken_at) == (State.AWAKE, None, None)
    assert found.told == ""
    assert room(stage) is None
    assert health(stage).health is Health.HEALTHY


def test_many_who_wait_wake_as_many_replicas_as_they_need(stage, store, policy):
    put_to_sleep(stage, policy)
    report(store, stage, waiting=9)
    assert look(stage, policy).given == 1
    report(store, stage, waiting=25)
    assert look(stage, policy).given == 3


def test_without_a_free_gpu_it_says_what_is_missing(stage, store, policy):
    put_to_sleep(stage, policy)
    stage.cluster.nodes.update(gpus_allocatable=1, gpus_used=1)
    report(store, stage, waiting=1)
    decision = look(stage, policy)
    assert (decision.wanted, decision.given) == (1, 0)
    assert "1 H100-80GB-HBM3 missing" in decision.why
    assert state(stage).state is State.SLEEPING
    assert "1 request waits: its first replica is not ordered yet" in state(stage).told


def test_a_start_that_never_ends_is_down_and_is_given_up_when_nobody_asks(stage, store, policy):
    put_to_sleep(stage, policy)
    report(store, stage, waiting=1)
    look(stage, policy)
    store.delete(keys.report("w1"))
    stage.fake.tick(200)
    assert health(stage).health is Health.DOWN
    assert look(stage, policy, seconds=30).given == 1
    assert look(stage, policy, seconds=100).given == 0
    assert state(stage).state is State.SLEEPING


def test_a_bell_is_heard_and_a_lost_one_is_made_up_by_the_sweep(stage, store, policy):
    put_to_sleep(stage, policy)
    ScalingPolicy.objects.update(look_again=timezone.now() + timedelta(hours=1))
    bells = GatewayBells(settings.REDIS_URL)
    assert bells.heard(0.01) == set()
    store.publish(keys.WAKE_CHANNEL, stage.service.pk)
    store.publish(keys.WAKE_CHANNEL, "nonsense")
    heard = bells.heard(5.0) | bells.heard(0.1)
    assert heard == {stage.service.pk}
    bells.close()
    assert driving.sleeping(heard) == [policy.pk]
    assert driving.called_policies(read_gateways(stage.fake.now)) == []
    report(store, stage, waiting=1)
    assert driving.called_policies(read_gateways(stage.fake.now)) == [policy.pk]
    look(stage, policy)
    assert driving.called_policies(read_gateways(stage.fake.now)) == []  # it wakes already


def test_a_person_wakes_it_and_it_stays_awake_for_the_idle_time(stage, policy):
    with pytest.raises(Conflict, match="does not sleep"):
        stage.act(actions.wake, stage.service.pk)
    put_to_sleep(stage, policy)
    with scope_of(stage.vic), pytest.raises(Forbidden):
        actions.wake(stage.vic, stage.service.pk)
    ScalingPolicy.objects.update(called_at=stage.fake.now - timedelta(days=1))
    assert look(stage, policy).given == 0  # was called before it slept
    stage.act(actions.wake, stage.service.pk, why="a demo at nine")
    ScalingPolicy.objects.update(called_at=stage.fake.now)
    decision = look(stage, policy)
    assert decision.given == 1
    assert decision.why.startswith("A person wakes it")
    with pytest.raises(Conflict, match="wakes since"):
        stage.act(actions.wake, stage.service.pk)
    assert look(stage, policy, seconds=200).given == 1
    assert look(stage, policy, seconds=200).given == 0


def test_bounds_with_a_minimum_wake_it(stage, policy):
    put_to_sleep(stage, policy)
    policy.refresh_from_db()
    stage.act(actions.set_policy, stage.service.pk, policy.version, Policy(Bounds(2, 6), 10))
    decision = look(stage, policy)
    assert (decision.given, state(stage).state) == (2, State.WAKING)
    assert "the bounds have a minimum now" in decision.why


def test_nobody_takes_the_policy_away_while_it_sleeps(stage, policy):
    put_to_sleep(stage, policy)
    with pytest.raises(Conflict, match="wake it first"):
        stage.act(actions.clear_policy, stage.service.pk, None)


def test_a_rollout_is_not_proposed_while_it_sleeps(stage, store, policy):
    put_to_sleep(stage, policy)
    release = stage.release("b")
    with pytest.raises(Conflict, match="sleeps at 0 replicas: wake it first"):
        stage.propose(release)
    with scope_of(stage.olga):
        proposal = plan_rollout(stage.olga, stage.service.pk, release.pk)
    assert (proposal.checks[0].name, proposal.checks[0].verdict) == ("Awake", "fail")
    assert (proposal.old_replicas, proposal.replicas) == (1, 1)
    report(store, stage, waiting=1)
    look(stage, policy)
    assert stage.propose(release).replicas == 1  # also where it wakes and never answers


def test_a_way_back_works_while_it_sleeps(stage, row, policy):
    """It needs nobody's leave, and brings one replica of the old release up."""
    first = stage.propose(stage.release("b"), steps=(), soak_seconds=0)
    stage.approve(first)
    assert stage.run(first).phase == Phase.SUCCEEDED
    stage.service.refresh_from_db()
    asleep = look(stage, policy, seconds=700)
    assert asleep.given == 0, asleep.why
    keep(Deployment.objects.get(replicas=0, weight=100).pk, stage.outside)
    for _ in range(20):
        stage.fake.tick()
    stage.observe()
    back = stage.act(rollouts.roll_back, first.pk, why="it is wrong")
    assert stage.run(back).phase == Phase.SUCCEEDED, back.why
    row.refresh_from_db()
    assert (row.replicas, row.weight, live(stage, row)) == (1, 100, 1)
    stage.service.refresh_from_db()
    look(stage, policy)
    assert state(stage).state is State.AWAKE


def test_it_is_not_placed_elsewhere_while_it_sleeps(stage, policy):
    """Nothing would look for it there."""
    put_to_sleep(stage, policy)
    other = make_cluster(slug="west")
    with pytest.raises(Conflict, match="It sleeps in its cluster"):
        stage.act(services.change, stage.service.pk, None, cluster_id=other.pk)


def test_a_number_by_hand_is_refused_while_it_sleeps(stage, row, policy):
    put_to_sleep(stage, policy)
    stage.act(services.change, stage.service.pk, None, description="asleep")
    keep(row.pk, stage.outside)
    row.refresh_from_db()
    assert row.replicas == 0


def test_a_rollout_that_is_being_proposed_is_awaited_and_then_wins(stage, row, policy):
    """The drive would put it to sleep in the moment between its plan and its row."""
    release, done = stage.release("b"), []
    ask(stage)
    stage.fake.tick(400)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    EngineSample.objects.create(
        pod_uid=next(iter(stage.fake.pods)), service=stage.service, release_id=1,
        at=stage.fake.now, running=0, waiting=0,
    )  # fmt: skip
    asked = threading.Event()

    def scale():
        try:
            asked.set()
            done.append(driving.scale(policy.pk, stage.outside))
        finally:
            connection.close()

    with scope_of(stage.olga), transaction.atomic():
        rollouts.propose_rollout(stage.olga, stage.service.pk, release.pk, soak_seconds=0)
        thread = threading.Thread(target=scale)
        thread.start()
        assert asked.wait(10)
        until_blocked()
    thread.join(30)
    row.refresh_from_db()
    assert (row.replicas, len(done)) == (1, 1)
    assert Rollout.objects.count() == 1
    assert ScalingPolicy.objects.get().slept_at is None


def until_blocked():
    """Another session waits for a lock."""
    for _ in range(2000):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waited")


def test_the_sweep_looks_at_it_when_requests_wait(stage, store, policy, monkeypatch):
    put_to_sleep(stage, policy)
    ScalingPolicy.objects.update(look_again=timezone.now() + timedelta(hours=1))
    report(store, stage, waiting=1)
    sent = []
    monkeypatch.setattr("fleet.tasks.scaling.nudge", lambda *args: sent.append(args))
    sweep_scaling()
    assert sent == [("fleet.tasks.scale_service", policy.pk)]
    monkeypatch.setattr("fleet.drive.scaling.nudge", lambda *args: sent.append(args))
    driving.answer({stage.service.pk, 999})
    assert sent[1:] == [("fleet.tasks.scale_service", policy.pk)]
