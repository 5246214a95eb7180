"""One model name in two clusters in memory, on the real database."""

from dataclasses import dataclass
from itertools import count

from django.utils import timezone

from fleet.actions.placements import set_placements
from fleet.actions.sequences import propose_sequence, resume_sequence
from fleet.drive.outside import Outside
from fleet.drive.rollout import drive as drive_rollout
from fleet.drive.sequence import drive
from fleet.models import Cluster, Node, Rollout, RolloutSequence, Service
from fleet.rules.phases import FINAL as ROLLOUT_ENDED
from fleet.rules.sequence import FINAL, Phase
from tenants.actions import changes
from tenants.base.scope import scope_of
from tenants.models import ChangeRequest
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.drive.stage import PRODUCT, Stage, make_stage, serve
from tests.fleet.makers import make_cluster

BAKE = 60


@dataclass
class TwoClusters:
    home: Stage  # `chat` in east
    west: Stage  # `chat-west` in west

    @property
    def stages(self):
        return (self.home, self.west)

    def act(self, action, *args, **more):
        return self.home.act(action, *args, **more)

    def propose(self, commit="b", **changes):
        release = self.home.release(commit)
        fields = {"bake_seconds": BAKE, "steps": (), "soak_seconds": 5, "reason": "faster"}
        return self.act(propose_sequence, release.pk, **fields | changes)

    def approve(self, sequence):
        change = ChangeRequest.objects.get(pk=sequence.change_id)
        with scope_of(self.home.vic):
            changes.decide(self.home.vic, change.pk, digest=change.digest, approve=True)

    def resume(self, sequence, why):
        """The clock of these clusters is ahead of the database's."""
        self.act(resume_sequence, sequence.pk, why=why)
        RolloutSequence.objects.filter(pk=sequence.pk).update(wish_at=self.home.fake.now)

    def step(self, sequence, lost=(), seconds=10):
        """A pass of the sequence and of every open rollout. `lost`: clusters nobody can see."""
        now = self.home.fake.now
        for stage in self.stages:
            if stage.cluster.slug not in lost:
                Cluster.objects.filter(pk=stage.cluster.pk).update(observed_at=now)
        drive(sequence.pk, lambda: now)
        ended = [p.value for p in ROLLOUT_ENDED]
        for rollout in Rollout.objects.exclude(phase__in=ended).select_related("cluster"):
            stage = self.home if rollout.cluster == self.home.cluster else self.west
            stage.fake.down = stage.cluster.slug in lost
            drive_rollout(rollout.pk, self.outside(stage))
        for stage in self.stages:
            stage.fake.tick(seconds)
            stage.observe()
            stage.service.refresh_from_db()
        sequence.refresh_from_db()
        return sequence

    def outside(self, stage):
        fake = stage.fake
        return Outside(lambda _: fake, fake.ask, lambda: fake.now, fake.put)

    def run(self, sequence, until=FINAL, lost=(), most=100):
        for _ in range(most):
            if Phase(sequence.phase) in until:
                return sequence
            self.step(sequence, lost)
        raise AssertionError(f"still {sequence.phase}: {sequence.why}")

    def until(self, sequence, holds, lost=(), most=100):
        for _ in range(most):
            if holds():
                return
            self.step(sequence, lost)
        raise AssertionError(f"it did not come to it: {sequence.why}")


def make_two_clusters():
    home = make_stage()
    now = timezone.now()
    cluster = make_cluster("west", region="us-1", observed_at=now)
    Node.objects.create(
        cluster=cluster, name="gpu-1", gpu_product=PRODUCT, gpus_allocatable=8, gpus_used=4,
        ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    service = Service.objects.create(name="chat-west", cluster=cluster, replicas=4)
    fake = FakeWorkloads(home.fake.now, 8)
    fake.numbers = count(1000)  # uids are of both clusters
    west = Stage(home.olga, home.vic, cluster, service, fake)
    serve(west, west.release("a"))
    fake.now = home.fake.now
    both = TwoClusters(home, west)
    both.act(set_placements, home.service.pk, ["chat-west"])
    return both
