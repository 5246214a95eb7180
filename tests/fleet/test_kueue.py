"""Kueue: the quota of a queue in plans, and rollouts whose pods wait for their turn in it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.drive.observation import Observer
from fleet.models import Cluster
from fleet.queries.situations import quotas_of
from fleet.rules.answers import Quota
from fleet.rules.causes import Patience, diagnose, progress_of
from fleet.rules.kueue import read_kueue, waits_in
from fleet.rules.phases import Cause, Phase
from fleet.rules.rbac import manifest, questions
from fleet.rules.seen import Side, read_pod
from tests.fixtures.queue_objects import GPU, RECORDED, cluster_queue, flavor, local_queue
from tests.fleet.fake_cluster import NOW, FakeCluster, make_node, make_pod
from tests.fleet.makers import make_cluster
from tests.fleet.rules.walk import START, Walk, make_state

L40S, H100 = "NVIDIA-L40S", "NVIDIA-H100"


def queue_of(name, nominal, used, *, cohort="", stop="None", active=True, **limits):
    """With what its controller says of it."""
    total = {"name": GPU, "total": str(used), "borrowed": str(max(used - nominal, 0))}
    found = cluster_queue(name, "l40s", nominal, cohort=cohort, **limits)
    found["spec"]["stopPolicy"] = stop
    condition = {"type": "Active", "status": "True" if active else "False", "reason": "Ready"}
    found["status"] = {
        "conditions": [condition],
        "flavorsReservation": [{"name": "l40s", "resources": [total]}],
    }
    return found


def local_of(name="default", behind="ours", pending=0):
    return local_queue(name, "models", behind) | {"status": {"pendingWorkloads": pending}}


GATES = next(p["spec"]["schedulingGates"] for p in RECORDED["pods"] if waits_in(p))


def kueue(*cluster_queues, queues=None):
    return {
        "localqueues": queues or [local_of()],
        "clusterqueues": list(cluster_queues),
        "resourceflavors": [flavor("l40s", L40S), flavor("h100", H100)],
    }


# --- the quota -------------------------------------------------------------------

QUOTAS = {
    "alone": ([queue_of("ours", 8, 5)], (8, 3)),
    "alone and full": ([queue_of("ours", 8, 8)], (8, 0)),
    "it borrows from an idle neighbour": (
        [queue_of("ours", 4, 4, cohort="a"), queue_of("b", 4, 1, cohort="a")],
        (8, 3),
    ),
    "what it borrowed is not there twice": (
        [queue_of("ours", 4, 6, cohort="a"), queue_of("b", 4, 1, cohort="a")],
        (8, 1),
    ),
    "it may borrow so much only": (
        [
            queue_of("ours", 4, 4, cohort="a", borrowingLimit=1),
            queue_of("b", 4, 0, cohort="a"),
        ],
        (5, 1),
    ),
    "the neighbour lends so much only": (
        [
            queue_of("ours", 4, 4, cohort="a"),
            queue_of("b", 4, 1, cohort="a", lendingLimit=2),
        ],
        (6, 2),
    ),
    "another cohort lends nothing": (
        [queue_of("ours", 4, 4, cohort="a"), queue_of("b", 4, 0, cohort="z")],
        (4, 0),
    ),
    "held by an administrator": ([queue_of("ours", 8, 2, stop="Hold")], (8, 0)),
    "not active": ([queue_of("ours", 8, 2, active=False)], (8, 0)),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_it_counts_what_a_queue_still_lets_in(case):
    cluster_queues, (limit, free) = QUOTAS[case]
    (row,) = read_kueue(kueue(*cluster_queues), {}).queues
    assert (row.limit, row.free) == (limit, free)


def test_it_counts_what_the_real_one_was_seen_to_say():
    """Research has 3 of 2 + 2 GPUs; of ours that wants 2 Kueue says that it needs 1 more."""
    (row,) = (q for q in read_kueue(RECORDED, {}).queues if q.name == "default")
    assert (row.nominal, row.used, row.limit, row.free) == (2, 0, 4, 1)
    assert (row.product, row.pending, row.held) == (L40S, 1, False)
    (theirs,) = (q for q in read_kueue(RECORDED, {}).queues if q.name == "research")
    assert (theirs.used, theirs.borrowed, theirs.limit, theirs.free) == (3, 1, 4, 1)
    (waiting,) = (w for w in RECORDED["workloads"] if w["spec"]["queueName"] == "default")
    (told,) = waiting["status"]["conditions"]
    assert "nvidia.com/gpu in flavor l40s, 1 more needed" in told["message"]
    assert [waits_in(p) for p in RECORDED["pods"]] == ["default", ""]


def shapes(value, path=""):
    """Paths of all that is in it, with kinds of values; of lists their elements."""
    if isinstance(value, dict):
        return set().union(*(shapes(v, f"{path}.{k}") for k, v in value.items()))
    if isinstance(value, list):
        return set().union(*(shapes(v, path) for v in value))
    return {(path, type(value).__name__)}


MADE = {
    "resourceflavors": flavor("l40s", L40S),
    "clusterqueues": queue_of("ours", 4, 6, cohort="a"),
    "localqueues": local_of(pending=1),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_tests_make_has_the_recorded_shape(kind):
    made = {k: v for k, v in MADE[kind].items() if k not in ("apiVersion", "kind")}
    assert shapes(made) <= shapes(RECORDED[kind])


# --- the observer ----------------------------------------------------------------


@pytest.fixture
def cluster(db):
    return make_cluster()


def observed(cluster, fake):
    fake.denied -= {"resourcequotas/models"}
    assert Observer(fake).observe(cluster.pk, NOW)
    return Cluster.objects.get()


def test_a_plan_counts_the_queue_that_its_service_is_in(cluster):
    fake = FakeCluster([make_node()], [make_pod(service="code")])
    fake.pods[0]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team"
    queues = [local_of(), local_of("team", "theirs")]
    behind = queue_of("ours", 8, 5), queue_of("theirs", 2, 2)
    fake.kueue = kueue(*behind, queues=queues)
    row = observed(cluster, fake)
    assert quotas_of(row, "chat", [L40S]) == [Quota("of the queue default (ours)", 8, 5)]
    assert quotas_of(row, "code", [L40S]) == [Quota("of the queue team (theirs)", 2, 2)]
    assert quotas_of(row, "chat", [H100]) == []  # the flavor is of other nodes


def test_without_kueue_nothing_is_asked_and_nothing_counted(cluster):
    row = observed(cluster, FakeCluster([make_node()]))
    assert row.kueue is None
    assert quotas_of(row, "chat", [L40S]) == []
    assert "kueue.x-k8s.io" not in {p["group"] for p in row.permissions}
    assert "kueue.x-k8s.io" not in {q.group for q in questions("models")}
    assert "clusterqueues" in manifest("models")  # printed: it costs nothing where there is none


def test_a_queue_that_may_not_be_read_is_said(cluster):
    fake = FakeCluster([make_node()])
    fake.kueue = kueue(queue_of("ours", 8, 5))
    fake.denied |= {"clusterqueues/"}
    row = observed(cluster, fake)
    assert row.kueue["readable"] is False
    assert sum(p["needed"] and not p["allowed"] for p in row.permissions) == 0
    assert quotas_of(row, "chat", [L40S]) == []


# --- rollouts --------------------------------------------------------------------


def gated_pod():
    pod = make_pod(node="", ready=False)
    pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team"
    pod["spec"]["schedulingGates"] = GATES
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    pod["status"]["conditions"] = [gated]
    return pod


def test_a_pod_that_waits_for_its_turn_is_no_fault_however_long():
    side = Side(exists=True, wanted=1, pods=(read_pod(gated_pod()),))
    assert waits_in(gated_pod()) == "team"
    assert diagnose(side, "r2", NOW + timedelta(hours=5), Patience(timedelta(seconds=30))) is None
    assert progress_of(side) == "waits for its turn in the queue team of Kueue"


def waiting():
    """A walk whose new pods Kueue does not let in."""
    walk = Walk(make_state())
    walk.cluster.gate = "team"
    walk.run(until={Phase.CANARY_STARTING})
    return walk


def test_a_rollout_waits_for_the_queue_and_goes_on_when_it_is_let_in():
    walk = waiting()
    for _ in range(100):
        walk.step()
    assert walk.state.phase is Phase.CANARY_STARTING
    assert "1 of 1 replicas of r2 wait for the queue" in walk.state.why
    assert "in the queue team of Kueue" in walk.state.why
    assert walk.now - START > walk.state.start_deadline
    walk.cluster.gate = ""
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_an_abort_takes_it_out_of_the_queue():
    walk = waiting()
    walk.step()
    walk.state = replace(walk.state, wish=walk.state.wish.ABORT)
    walk.run()
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR)
