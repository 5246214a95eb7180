"""The observer: what a cluster says becomes rows, and what it does not say drops none."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleet.actions import observation as actions
from fleet.drive.observation import Observer
from fleet.models import Cluster, Node, ObservedEvent, ObservedPod
from fleet.rules.observation import read_nodes, read_pods
from tests.fleet.fake_cluster import NOW, FakeCluster, make_event, make_node, make_pod
from tests.fleet.makers import make_cluster, make_deployment, make_release, make_service

LATER = NOW + timedelta(seconds=3)


# --- reading, pure -------------------------------------------------------------


def the_pod(**changes):
    return read_pods([make_pod(**changes)], NOW)[0]


def test_it_reads_a_sound_replica():
    pod = the_pod()
    assert (pod.service, pod.release, pod.address) == ("chat", "rel-aaaaaaaaaaaa", "10.0.0.1:8000")
    assert (pod.gpus, pod.takes_traffic, pod.reason) == (1, True, "")


def test_it_brackets_addresses_of_version_six():
    assert the_pod(address="fd00::1").address == "[fd00::1]:8000"
    assert the_pod(address="").address == ""


def test_it_leaves_out_pods_that_are_not_ours():
    assert read_pods([make_pod(service="")], NOW) == ()


CONTAINERS = {
    "a crash loop": (
        {
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "message": "CUDA died"}},
        },
        ("CrashLoopBackOff", "back-off 40s Last exit: Error, code 1", "CUDA died"),
    ),
    "an image that cannot be pulled": (
        {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
        ("ErrImagePull", "not found", ""),
    ),
    "too little memory": (
        {"state": {}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}},
        ("OOMKilled", "Last exit: OOMKilled, code 137", ""),
    ),
    "a container that ended": (
        {"state": {"terminated": {"reason": "Error", "exitCode": 2, "message": "bad flag"}}},
        ("Error", "Last exit: Error, code 2", "bad flag"),
    ),
    "a container that is being made": (
        {"state": {"waiting": {"reason": "ContainerCreating"}}},
        ("", "", ""),
    ),
}


@pytest.mark.parametrize(("container", "want"), CONTAINERS.values(), ids=CONTAINERS)
def test_it_says_why_a_pod_does_not_run(container, want):
    pod = the_pod(ready=False, container=container)
    assert (pod.reason, pod.message, pod.last_log) == want


def test_it_says_that_no_node_fits():
    pod = make_pod(ready=False, phase="Pending", node=None)
    pod["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
        }
    ]
    read = read_pods([pod], NOW)[0]
    assert (read.reason, "Insufficient" in read.message) == ("Unschedulable", True)


def test_it_counts_gpus_of_every_pod_that_has_not_ended():
    pods = [
        make_pod("a", gpus=2),
        make_pod("b", gpus=1, service=""),
        make_pod("c", gpus=1, phase="Succeeded"),
        make_pod("d", gpus=1, terminating=True),
        make_pod("e", gpus=1, node="other"),
    ]
    (node,) = read_nodes([make_node()], pods)
    assert (node.gpus_allocatable, node.gpus_used) == (4, 4)


def test_it_names_what_is_wrong_with_a_node():
    (node,) = read_nodes([make_node(ready=False, cordoned=True)], [])
    assert not node.ready
    assert node.trouble.startswith("Not ready: Kubelet stopped")
    assert "Cordoned" in node.trouble


# --- a pass, on the database ----------------------------------------------------


@pytest.fixture
def cluster(db):
    return make_cluster()


@pytest.fixture
def chat(cluster):
    service = make_service(cluster=cluster)
    return make_deployment(service, make_release(service), cluster)


def look(fake, cluster, now=NOW, observer=None):
    return (observer or Observer(fake)).observe(cluster.pk, now)


def test_it_writes_down_what_it_saw(cluster, chat):
    fake = FakeCluster([make_node()], [make_pod()], [make_event()])
    assert look(fake, cluster)
    node, pod = Node.objects.get(), ObservedPod.objects.get()
    assert (node.gpus_used, node.ready, node.zone) == (1, True, "z1")
    assert (pod.deployment_id, pod.admitted, pod.observed_at) == (chat.pk, True, NOW)
    assert ObservedEvent.objects.get().reason == "BackOff"
    cluster.refresh_from_db()
    assert (cluster.observed_at, cluster.observed_version) == (NOW, "v1.36.2")
    assert cluster.claim is None and cluster.look_again == NOW + actions.EVERY
    assert any(not p["allowed"] for p in cluster.permissions)


QUOTA = {
    "metadata": {"name": "gpus"},
    "spec": {"hard": {"requests.nvidia.com/gpu": "8", "pods": "9"}},
    "status": {"used": {"requests.nvidia.com/gpu": "3"}},
}
BUDGET = {
    "metadata": {"name": "chat"},
    "spec": {"selector": {"matchLabels": {"a": "b"}}},
    "status": {"desiredHealthy": 2},
}


def test_it_keeps_quotas_and_budgets_and_says_when_it_may_not_read_them(cluster):
    fake = FakeCluster([make_node()])
    fake.quotas = [QUOTA, {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "4"}}}]
    by_expression = {"metadata": {"name": "x"}, "spec": {"selector": {"matchExpressions": [1]}}}
    fake.budgets = [BUDGET, by_expression]
    look(fake, cluster)
    cluster.refresh_from_db()
    assert cluster.quotas == [{"name": "gpus", "hard": 8, "used": 3}]
    assert cluster.budgets == [{"name": "chat", "labels": {"a": "b"}, "floor": 2}]
    fake.denied |= {"resourcequotas/models", "poddisruptionbudgets/models"}
    look(fake, cluster, LATER, Observer(fake))
    cluster.refresh_from_db()
    assert (cluster.quotas, cluster.budgets) == (None, None)


def test_it_replaces_what_has_changed_and_drops_what_is_gone(cluster):
    observer = Observer(
        fake := FakeCluster([make_node("a"), make_node("b")], [make_pod("p"), make_pod("q")])
    )
    look(fake, cluster, observer=observer)
    fake.nodes, fake.pods = [make_node("b", ready=False)], [make_pod("q", ready=False)]
    look(fake, cluster, LATER, observer)
    node, pod = Node.objects.get(), ObservedPod.objects.get()
    assert (node.name, node.ready, node.changed_at) == ("b", False, LATER)
    assert (pod.name, pod.ready) == ("q", False)
    assert fake.connections == 1


def test_it_keeps_the_results_of_probes(cluster):
    observer = Observer(fake := FakeCluster([make_node()], [make_pod()]))
    look(fake, cluster, observer=observer)
    ObservedPod.objects.update(probe="answered", probe_failures=2, probed_at=NOW)
    fake.pods = [make_pod(ready=False)]
    look(fake, cluster, LATER, observer)
    pod = ObservedPod.objects.get()
    assert (pod.probe, pod.probe_failures, pod.observed_at) == ("answered", 2, LATER)


def test_it_writes_no_row_of_what_is_as_it_was(cluster, chat):
    observer = Observer(fake := FakeCluster([make_node()], [make_pod(), make_pod("q")]))
    look(fake, cluster, observer=observer)
    with CaptureQueriesContext(connection) as asked:
        look(fake, cluster, LATER, observer)
    tables = ('"node"', '"observed_pod"')
    wrote = [q["sql"] for q in asked if not q["sql"].startswith("SELECT")]
    assert not [sql for sql in wrote if any(table in sql for table in tables)]
    assert set(ObservedPod.objects.values_list("observed_at", flat=True)) == {NOW}


@pytest.mark.parametrize("what", ["nodes", "pods", "events", "version"])
def test_it_drops_nothing_when_a_list_failed(cluster, what):
    look(FakeCluster([make_node()], [make_pod()]), cluster)
    fake = FakeCluster()
    fake.failing = what
    assert not look(fake, cluster, LATER)
    assert (Node.objects.count(), ObservedPod.objects.count()) == (1, 1)
    cluster.refresh_from_db()
    assert cluster.observed_at == NOW
    assert "does not answer" in cluster.trouble
    assert cluster.failures == 1 and cluster.claim is None
    assert fake.closed == 1


def test_it_waits_longer_after_each_failure_but_never_long(cluster):
    fake = FakeCluster()
    fake.failing = "version"
    waits = []
    for _ in range(8):
        look(fake, cluster)
        cluster.refresh_from_db()
        waits.append((cluster.look_again - NOW).total_seconds())
    assert waits[:3] == [3, 6, 12]
    assert waits[-1] == 15


def test_it_recovers_by_itself(cluster):
    observer = Observer(fake := FakeCluster([make_node()]))
    fake.failing = "nodes"
    look(fake, cluster, observer=observer)
    fake.failing = ""
    assert look(fake, cluster, LATER, observer)
    cluster.refresh_from_db()
    assert (cluster.trouble, cluster.failures) == ("", 0)


def test_it_takes_clusters_that_are_due(cluster):
    make_cluster("west", look_again=LATER)
    make_cluster("gone", removed_at=NOW)
    assert Observer().due(NOW) == [cluster.pk]


def test_it_leaves_a_cluster_to_who_holds_it(cluster):
    Cluster.take_claim(cluster.pk)
    assert not look(FakeCluster([make_node()]), cluster)
    assert not Node.objects.exists()


def test_it_writes_nothing_after_it_lost_its_claim(cluster):
    class Slow(FakeCluster):
        def list_events(self, namespace, field_selector=""):
            Cluster.objects.update(claim=None, claim_until=None)
            Cluster.take_claim(cluster.pk)
            return []

    assert not look(Slow([make_node()]), cluster)
    assert not Node.objects.exists()
    cluster.refresh_from_db()
    assert cluster.claim is not None


def test_it_tells_the_publisher_when_endpoints_change(cluster, chat, monkeypatch):
    rung = []
    monkeypatch.setattr(actions, "nudge", lambda *a: rung.append(a))
    observer = Observer(fake := FakeCluster([make_node()], [make_pod(admitted=False)]))
    look(fake, cluster, observer=observer)
    assert not rung
    fake.pods = [make_pod()]
    look(fake, cluster, LATER, observer)
    look(fake, cluster, LATER + timedelta(seconds=3), observer)
    assert rung == [("fleet.tasks.publish_routing",)]
    fake.pods = [make_pod(terminating=True)]
    look(fake, cluster, LATER + timedelta(seconds=6), observer)
    assert len(rung) == 2


def test_it_survives_values_that_are_too_long(cluster):
    pod = make_pod(container={"state": {"waiting": {"reason": "R" * 500}}, "imageID": "i" * 900})
    assert look(FakeCluster([make_node()], [pod]), cluster)
    assert len(ObservedPod.objects.get().reason) == 120


def test_it_says_when_the_credential_cannot_be_read(cluster):
    Cluster.objects.update(credential=b"sealed with another key")
    assert not look(FakeCluster(), cluster)
    cluster.refresh_from_db()
    assert "QM_SECRET_KEY" in cluster.trouble
