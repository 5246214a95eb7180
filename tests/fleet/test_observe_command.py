"""The observer's process: rounds beside each other, of which none ends the others."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from fleet.clients.bells import GatewayBells
from fleet.drive.watching import Bells
from fleet.management.commands.observe import Passes, repeat
from fleet.models import Cluster, ScalingPolicy
from gateway.contract import keys
from tests.fleet.makers import make_cluster, make_service


def test_it_goes_on_after_a_round_that_raised():
    stop, seen = threading.Event(), []

    def work():
        seen.append(len(seen))
        if len(seen) == 3:
            stop.set()
        raise RuntimeError("poisoned")

    repeat("test", 0.0, work, stop)
    assert seen == [0, 1, 2]


class Stuck:
    """Cluster 1 hangs until it is let go; cluster 2 answers at once and then raises."""

    def __init__(self):
        self.let_go = threading.Event()
        self.asked = []

    def due(self, now):
        return [1, 2]

    def observe(self, cluster_id, now, rung):
        self.asked.append(cluster_id)
        if cluster_id == 1:
            self.let_go.wait(5)
            return True
        raise RuntimeError("no database")


@pytest.mark.django_db(transaction=True)
def test_it_lets_no_cluster_keep_the_others_waiting():
    stuck = Stuck()
    with ThreadPoolExecutor(2) as pool:
        passes = Passes(stuck, pool, Bells())
        passes.start()
        while not passes.running[2].done():
            pass
        with pytest.raises(RuntimeError, match="no database"):
            passes.start()
        stuck.let_go.set()
    assert (stuck.asked.count(1), stuck.asked.count(2)) == (1, 2)


class Asked:
    """Cluster 1, due once. Its look ends when it is told to, and somebody rings before."""

    def __init__(self, bells, again=True):
        self.bells, self.again = bells, again
        self.began, self.let_go, self.asked = threading.Event(), threading.Event(), []

    def due(self, now):
        return [] if self.asked else [1]

    def glance(self, cluster_id, services, now):
        self.asked.append(sorted(services))
        return self.again

    def observe(self, cluster_id, now, rung):
        self.asked.append("all")
        self.began.set()
        self.let_go.wait(5)
        return True


@pytest.mark.django_db(transaction=True)
def test_what_rang_is_looked_at_before_the_whole_and_as_soon_as_that_has_ended():
    bells = Bells()
    cluster = Asked(bells)
    with ThreadPoolExecutor(1) as pool:
        passes = Passes(cluster, pool, bells)
        bells.ring(1, {"chat"})
        passes.next()
        assert cluster.began.wait(5)
        bells.ring(1, {"code", "chat"})
        passes.next()  # the look goes on
        assert cluster.asked == [["chat"], "all"]
        cluster.let_go.set()
        bells.wait(5)
        passes.start()
        passes.finish()
    assert cluster.asked == [["chat"], "all", ["chat", "code"]]


@pytest.mark.django_db(transaction=True)
def test_a_bell_that_nobody_can_answer_now_is_kept_and_does_not_ring_by_itself():
    bells = Bells()
    cluster = Asked(bells, again=False)
    cluster.asked.append("all")
    with ThreadPoolExecutor(1) as pool:
        passes = Passes(cluster, pool, bells)
        bells.ring(1, {"chat"})
        passes.next()
        passes.finish()
    assert bells.take(1) == {"chat"}
    assert not bells.heard.is_set()


@pytest.mark.django_db(transaction=True)
def test_it_tells_what_is_wrong_with_a_cluster_that_it_cannot_reach():
    make_cluster(credential=b"")
    call_command("observe", "--once")
    assert "No credential is kept" in Cluster.objects.get().trouble


@pytest.fixture
def ringing() -> Iterator[list[int]]:
    """A gateway that rings for these services, again and again."""
    store, over, services = redis.Redis.from_url(settings.REDIS_URL), threading.Event(), []

    def ring():
        while not over.wait(0.05):
            for service_id in services:
                store.publish(keys.WAKE_CHANNEL, service_id)

    thread = threading.Thread(target=ring)
    thread.start()
    yield services
    over.set()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_it_hears_gateways_that_ring_for_a_service_that_sleeps(ringing, monkeypatch):
    sent = []
    monkeypatch.setattr("fleet.drive.scaling.nudge", lambda *args: sent.append(args))
    policies = [
        ScalingPolicy.objects.create(
            service=make_service(name=name), min_replicas=0, max_replicas=1, target=1,
            slept_at=slept_at,
        )
        for name, slept_at in (("asleep", timezone.now()), ("awake", None))
    ]  # fmt: skip
    ringing += [p.service_id for p in policies]
    call_command("observe", "--once")
    assert sent == [("fleet.tasks.scale_service", policies[0].pk)]


def test_it_listens_again_where_the_store_did_not_answer(caplog):
    bells = GatewayBells("redis://127.0.0.1:1/0")
    assert bells.heard(0.01) == bells.heard(0.01) == set()
    told = [r for r in caplog.records if "bells of gateways are not heard" in r.getMessage()]
    assert len(told) == 1  # once, not with every round
