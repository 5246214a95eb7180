"""The observer's process: rounds beside each other, of which none ends the others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command

from fleet.drive.watching import Bells
from fleet.management.commands.observe import Passes, repeat
from fleet.models import Cluster
from tests.fleet.makers import make_cluster


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

    def observe(self, cluster_id, now):
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


@pytest.mark.django_db(transaction=True)
def test_it_tells_what_is_wrong_with_a_cluster_that_it_cannot_reach():
    make_cluster(credential=b"")
    call_command("observe", "--once")
    assert "No credential is kept" in Cluster.objects.get().trouble
