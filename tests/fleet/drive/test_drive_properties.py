"""Whoever asks for what in whichever order, on the real database: never two open rollouts of a
service, and a worker that lost its claim changes nothing.
"""

from contextlib import suppress
from itertools import count

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.actions import rollouts as actions
from fleet.drive.outside import Outside
from fleet.drive.rollout import drive
from fleet.models import Deployment, Node, Rollout, RolloutEvent, Service
from fleet.rules.phases import FINAL, Phase
from tenants.errors import ConsoleError
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.drive.stage import PRODUCT, Stage, make_viewer, serve
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db(transaction=True)
NUMBERS = count(1)
EVENTS = ("pass", "pass", "pass", "propose", "approve", "abort", "pause", "resume", "stale")
ACTS = {
    "abort": actions.abort_rollout,
    "pause": actions.pause_rollout,
    "resume": actions.resume_rollout,
}


@pytest.fixture
def people():
    return make_viewer("olga", "operator"), make_viewer("vic", "approver")


def make_stage(people):
    """A service and a cluster of their own for each example."""
    number, now = next(NUMBERS), timezone.now()
    row = make_cluster(f"memory-{number}", observed_at=now)
    Node.objects.create(
        cluster=row, name="gpu-1", gpu_product=PRODUCT, gpus_allocatable=8, gpus_used=2,
        ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    service = Service.objects.create(name=f"chat-{number}", cluster=row, replicas=2)
    stage = Stage(*people, row, service, FakeWorkloads(now, 8))
    serve(stage, stage.release("a"))
    return stage


def open_rollouts(stage):
    ended = [phase.value for phase in FINAL]
    return list(Rollout.objects.filter(service=stage.service).exclude(phase__in=ended))


def picture(stage):
    """All that a pass can change."""
    rows = Deployment.objects.filter(service=stage.service).order_by("id")
    rollouts = Rollout.objects.filter(service=stage.service).order_by("id")
    deployments = {n: (d["metadata"], d["spec"]) for n, d in stage.fake.deployments.items()}
    admitted = {uid: str(p["status"]["conditions"]) for uid, p in stage.fake.pods.items()}
    return (
        deployments,
        admitted,
        list(rows.values_list("replicas", "weight", "fence")),
        list(rollouts.values_list("phase", "why", "fence", "memory")),
        RolloutEvent.objects.filter(rollout__in=rollouts).count(),
    )


class Stopped:
    """The cluster of a worker that is stopped after it has looked, until another made a pass."""

    def __init__(self, stage, rollout):
        self.stage, self.rollout, self.after = stage, rollout, None

    def __getattr__(self, name):
        return getattr(self.stage.fake, name)

    def look(self, *args):
        found = self.stage.fake.look(*args)
        if self.after is None:
            Rollout.objects.filter(pk=self.rollout.pk).update(claim_until=Now())
            drive(self.rollout.pk, self.stage.outside)
            self.after = picture(self.stage)
        return found


def stale(stage, rollout):
    stopped, fake = Stopped(stage, rollout), stage.fake
    drive(rollout.pk, Outside(lambda _: stopped, fake.ask, lambda: fake.now, fake.put))
    if stopped.after is not None:
        assert picture(stage) == stopped.after


def happen(stage, event):
    there = open_rollouts(stage)
    if event == "propose":
        # Refused while one is open.
        with suppress(ConsoleError):
            stage.propose(stage.release("bcdef"[next(NUMBERS) % 5]))
    for rollout in there:
        if event == "pass":
            stage.step(rollout)
        elif event == "approve":
            with suppress(ConsoleError):
                stage.approve(rollout)
        elif event == "stale":
            stale(stage, rollout)
        elif event in ACTS:
            with suppress(ConsoleError):
                stage.act(ACTS[event], rollout.pk, why="drill")
    assert len(open_rollouts(stage)) <= 1


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.sampled_from(EVENTS), min_size=8, max_size=24))
def test_there_are_never_two_open_and_a_stale_worker_changes_nothing(people, events):
    stage = make_stage(people)
    for event in ("propose", "pass", "pass", "approve", *events):
        happen(stage, event)
    happen(stage, "resume")
    for rollout in open_rollouts(stage):
        with suppress(ConsoleError):
            stage.approve(rollout)
        for _ in range(5):
            stage.run(rollout, until={*FINAL, Phase.PAUSED}, most=300)
            happen(stage, "resume")
    assert open_rollouts(stage) == []
