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
from tests.fleet.fake_cluster import NOW, FakeCluster, make_node, make_pod
from tests.fleet.makers import make_cluster
from tests.fleet.rules.walk import START, Walk, make_state

L40S, H100 = "NVIDIA-L40S", "NVIDIA-H100"
GPU = "nvidia.com/gpu"


def flavor(name, product):
    return {"metadata": {"name": name}, "spec": {"nodeLabels": {f"{GPU}.product": product}}}


def cluster_queue(name, nominal, used, *, cohort="", flavor="l40s", stop="None", **limits):
    quota = {"name": GPU, "nominalQuota": str(nominal)} | limits
    total = {"name": GPU, "total": str(used), "borrowed": str(max(used - nominal, 0))}
    return {
        "metadata": {"name": name},
        "spec": {
            "cohort": cohort,
            "stopPolicy": stop,
            "resourceGroups": [{"flavors": [{"name": flavor, "resources": [quota]}]}],
        },
        "status": {"flavorsReservation": [{"name": flavor, "resources": [total]}]},
    }


def local_queue(name="default", behind="ours", pending=0):
    status = {"pendingWorkloads": pending}
    return {"metadata": {"name": name}, "spec": {"clusterQueue": behind}, "status": status}


def kueue(*cluster_queues, queues=None):
    return {
        "localqueues": queues or [local_queue()],
        "clusterqueues": list(cluster_queues),
        "resourceflavors": [flavor("l40s", L40S), flavor("h100", H100)],
    }


# --- the quota -------------------------------------------------------------------

QUOTAS = {
    "alone": ([cluster_queue("ours", 8, 5)], (8, 3)),
    "alone and full": ([cluster_queue("ours", 8, 8)], (8, 0)),
    "it borrows from an idle neighbour": (
        [cluster_queue("ours", 4, 4, cohort="a"), cluster_queue("b", 4, 1, cohort="a")],
        (8, 3),
    ),
    "what it borrowed is not there twice": (
        [cluster_queue("ours", 4, 6, cohort="a"), cluster_queue("b", 4, 1, cohort="a")],
        (8, 1),
    ),
    "it may borrow so much only": (
        [
            cluster_queue("ours", 4, 4, cohort="a", borrowingLimit="1"),
            cluster_queue("b", 4, 0, cohort="a"),
        ],
        (5, 1),
    ),
    "the neighbour lends so much only": (
        [
            cluster_queue("ours", 4, 4, cohort="a"),
            cluster_queue("b", 4, 1, cohort="a", lendingLimit="2"),
        ],
        (6, 2),
    ),
    "another cohort lends nothing": (
        [cluster_queue("ours", 4, 4, cohort="a"), cluster_queue("b", 4, 0, cohort="z")],
        (4, 0),
    ),
    "held by an administrator": ([cluster_queue("ours", 8, 2, stop="Hold")], (8, 0)),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_it_counts_what_a_queue_still_lets_in(case):
    cluster_queues, (limit, free) = QUOTAS[case]
    (row,) = read_kueue(kueue(*cluster_queues), {}).queues
    assert (row.limit, row.free) == (limit, free)


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
    queues = [local_queue(), local_queue("team", "theirs")]
    behind = cluster_queue("ours", 8, 5), cluster_queue("theirs", 2, 2)
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
    fake.kueue = kueue(cluster_queue("ours", 8, 5))
    fake.denied |= {"clusterqueues/"}
    row = observed(cluster, fake)
    assert row.kueue["readable"] is False
    assert sum(p["needed"] and not p["allowed"] for p in row.permissions) == 0
    assert quotas_of(row, "chat", [L40S]) == []


# --- rollouts --------------------------------------------------------------------


def gated_pod():
    pod = make_pod(node="", ready=False)
    pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team"
    pod["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
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
