"""A worker that is killed with -9 somewhere in nearly every pass: the next one converges."""

import os
import signal
from collections import Counter
from itertools import cycle

import pytest
from django.db import connection
from django.db.models.functions import Now

from fleet.actions import rollouts as actions
from fleet.drive import rollout as driving
from fleet.drive.outside import REAL, Outside
from fleet.models import Deployment, Rollout, RolloutEvent
from fleet.rules.phases import FINAL, Phase
from tests.cluster.rollout_stage import make_real_stage

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),  # the cluster's start is not counted
]
ALWAYS = ("claimed", "looked", "acted", "recorded")  # every pass comes by
SELDOM = ("applied", "admitted")  # only passes that do something


class Dying:
    """The cluster, until a point where the worker dies; the last words are the point's name."""

    def __init__(self, points, words, real=None):
        self.points, self.words, self.real = points, words, real

    def reach(self, point):
        if point in self.points:
            os.write(self.words, point.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, cluster):
        self.reach("claimed")
        return Dying(self.points, self.words, REAL.connect(cluster))

    def look(self, selector, *kinds):
        found = self.real.look(selector, *kinds)
        self.reach("looked")
        return found

    def apply(self, manifest, **more):
        found = self.real.apply(manifest, **more)
        self.reach("applied")
        return found

    def set_condition(self, pod, uid, condition):
        self.real.set_condition(pod, uid, condition)
        self.reach("admitted")

    def log(self, pod, **more):
        return self.real.log(pod, **more)

    def delete(self, kind, name, uid):
        self.real.delete(kind, name, uid)
        self.reach("applied")


def pass_that_dies(rollout_id, points):
    """Make one pass in a process of its own. Answers where it was killed; empty: nowhere."""
    connection.close()
    connection.close_pool()  # connections do not survive a fork
    listening, words = os.pipe()
    pid = os.fork()
    if pid == 0:
        dying = Dying(points, words)
        real = driving.record

        def record(*args):
            dying.reach("acted")
            done = real(*args)
            dying.reach("recorded")
            return done

        driving.record = record
        try:
            driving.drive(rollout_id, Outside(dying.connect, REAL.ask))
        finally:
            os._exit(0)
    os.close(words)
    os.waitpid(pid, 0)
    with os.fdopen(listening) as heard:
        return heard.read()


def run_with_deaths(stage, rollout, deaths, most=400):
    """No pass lives until one died at each of ALWAYS, afterwards every second one dies there.

    Each point of SELDOM kills the first pass that comes by.
    """
    always = cycle(ALWAYS)
    for number in range(most):
        rollout.refresh_from_db()
        if Phase(rollout.phase) in FINAL:
            return
        points = {point for point in SELDOM if not deaths[point]}
        if missing := [point for point in ALWAYS if not deaths[point]]:
            points.add(missing[0])
        elif number % 2 == 0:
            points.add(next(always))
        deaths[pass_that_dies(rollout.pk, points)] += 1
        # The dead worker's claim runs out; nothing but the row is needed to go on.
        Rollout.objects.filter(pk=rollout.pk).update(claim_until=Now())
        stage.observe()
        stage.pump(requests=8)
    raise AssertionError(f"still {rollout.phase}: {rollout.why}")


@pytest.fixture
def stage(cluster):
    """One release serves."""
    found = make_real_stage(cluster, "killed")
    first = found.roll_out(found.release(), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    yield found
    found.clear()


def test_it_moves_on_though_workers_die_at_every_point_of_a_pass(stage):
    deaths = Counter()
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=())
    stage.approve(rollout)
    run_with_deaths(stage, rollout, deaths)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert set(ALWAYS + SELDOM) <= set(deaths), deaths
    assert_ended_once(stage, rollout, rollout.to_release)


def test_it_goes_back_though_workers_die_at_every_point_of_a_pass(stage):
    deaths = Counter()
    rollout = stage.propose(stage.release("standin-0.31"), steps=(), soak_seconds=600)
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SOAKING})
    stage.act(actions.abort_rollout, rollout.pk)
    run_with_deaths(stage, rollout, deaths)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    # The old replicas stayed warm, so none has to be admitted again.
    assert {*ALWAYS, "applied"} <= set(deaths), deaths
    assert_ended_once(stage, rollout, rollout.from_release)


def assert_ended_once(stage, rollout, serving):
    assert stage.fingerprints() == [serving.fingerprint] * 2
    assert stage.failed == []
    ends = RolloutEvent.objects.filter(rollout=rollout, phase__in=[p.value for p in FINAL])
    assert ends.count() == 1
    assert Deployment.objects.get(weight=100).release_id == serving.pk
