"""Watches ring, and only the services that changed are looked at; nothing depends on them."""

import threading
from datetime import timedelta

import pytest

from fleet.actions import observation as actions
from fleet.clients.errors import Temporary
from fleet.drive.observation import Observer
from fleet.drive.watching import Bells, Watches
from fleet.models import Cluster, ObservedPod
from tests.fleet.fake_cluster import NOW, FakeCluster, make_node, make_pod
from tests.fleet.makers import make_cluster, make_deployment, make_release, make_service

LATER = NOW + timedelta(seconds=1)


@pytest.fixture
def cluster(db):
    return make_cluster()


@pytest.fixture
def known(cluster):
    """A pod of each of two services, as a whole look saw them."""
    for name in ("chat", "code"):
        service = make_service(name, cluster=cluster)
        make_deployment(service, make_release(service), cluster)
    pods = [make_pod(f"{name}-1", service=name) for name in ("chat", "code")]
    observer = Observer(FakeCluster([make_node()], pods))
    assert observer.observe(cluster.pk, NOW)
    return observer


def test_a_glance_writes_the_pods_of_the_services_that_rang(cluster, known, monkeypatch):
    told = []
    monkeypatch.setattr(actions, "nudge", lambda *call: told.append(call))
    known.connector.pods = [make_pod("chat-2", service="chat")]  # the pod of code went as well
    assert known.glance(cluster.pk, {"chat"}, LATER)
    assert set(ObservedPod.objects.values_list("name", flat=True)) == {"chat-2", "code-1"}
    assert told == [("fleet.tasks.publish_routing",)]
    row = Cluster.objects.get()
    assert (row.observed_at, row.claim) == (NOW, None)  # a glance is no look


def test_it_leaves_a_cluster_to_who_looks_at_it(cluster, known):
    Cluster.take_claim(cluster.pk)
    assert not known.glance(cluster.pk, {"chat"}, LATER)


def test_what_rings_in_a_look_is_seen_before_its_end(cluster, known, monkeypatch):
    """A look at a large cluster takes longer than gateways may wait."""
    rung, seen, fake = [{"chat"}], [], known.connector
    ask = type(fake).list_quotas

    def list_quotas(self, namespace):
        seen.append((set(ObservedPod.objects.values_list("name", flat=True)), len(rung)))
        return ask(self, namespace)

    monkeypatch.setattr(type(fake), "list_quotas", list_quotas)
    fake.pods = [make_pod("chat-2", service="chat"), make_pod("code-1", service="code")]
    assert known.observe(cluster.pk, LATER, lambda: rung.pop() if rung else set())
    assert seen == [({"chat-2", "code-1"}, 0)]
    row = Cluster.objects.get()
    assert (row.observed_at, row.claim, row.trouble) == (LATER, None, "")


def test_a_glance_that_fails_within_a_look_is_told_by_that_look(cluster, known):
    known.connector.failing = "pods"
    assert not known.observe(cluster.pk, LATER, lambda: {"chat"})
    assert ObservedPod.objects.count() == 2
    assert Cluster.objects.get().trouble != ""


def test_a_glance_that_fails_drops_nothing_and_is_no_trouble(cluster, known):
    known.connector.failing = "pods"
    assert known.glance(cluster.pk, {"chat"}, LATER)
    assert ObservedPod.objects.count() == 2
    assert Cluster.objects.get().trouble == ""


class Watching:
    """A watch that tells of one change, then ends or breaks."""

    def __init__(self, breaks=False):
        self.breaks, self.begun, self.closed = breaks, 0, 0

    def __call__(self, access):
        return self

    def watch_pods(self, namespace, label):
        self.begun += 1
        yield "chat"
        if self.breaks:
            raise Temporary("The cluster's API does not answer: reset")

    def close(self):
        self.closed += 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("breaks", [False, True])
def test_a_watch_that_ended_or_broke_begins_again(breaks):
    cluster, bells, watching = make_cluster(in_cluster=True), Bells(), Watching(breaks)
    watches = Watches(bells, watching)
    for number in (1, 2):
        watches.keep()
        watches.threads[cluster.pk].join(10)
        assert (watching.begun, watching.closed) == (number, number)
        assert bells.clusters() == [cluster.pk]
        assert bells.take(cluster.pk) == {"chat"}


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_was_removed_is_watched_no_more():
    cluster, hold = make_cluster(in_cluster=True), threading.Event()

    class Endless(Watching):
        def watch_pods(self, namespace, label):
            hold.wait(10)
            yield from ()

    watches = Watches(Bells(), Endless())
    watches.keep()
    thread = watches.threads[cluster.pk]
    watches.keep()
    assert watches.threads[cluster.pk] is thread
    Cluster.objects.update(removed_at=NOW)
    watches.keep()
    assert watches.threads == {}
    hold.set()
    thread.join(10)
