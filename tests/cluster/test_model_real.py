"""The cluster in memory, on which thousands of walks are played, against the real one.

The same script on both must go through the same phases to the same end. Where they part, the walks
in memory prove nothing.
"""

from dataclasses import dataclass

import pytest
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.models import Node, RolloutEvent, Service
from fleet.rules.phases import FINAL, Phase, PlanKind
from fleet.rules.situation import StepPlan
from tests.cluster.model_faults import Faults, MemoryFaults, RealFaults
from tests.cluster.rollout_stage import PRODUCT
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.drive.stage import Stage, serve
from tests.fleet.makers import make_cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
STEPS = (StepPlan(50, 5, 20),)
GPUS = 4  # of the one node, with two replicas on it


@dataclass(frozen=True)
class Script:
    """`acts`: what a person or the cluster does when a phase is reached, in this order."""

    acts: tuple[tuple[Phase, str], ...] = ()
    behaves: str = "good"  # in memory
    image: str = "standin-0.32.1"  # on the real one, to the same effect
    kind: PlanKind = PlanKind.SURGE_CANARY


SCRIPTS = {
    "blue-green": Script(kind=PlanKind.BLUE_GREEN),
    "replace in place": Script(kind=PlanKind.REPLACE),
    "recreate": Script(kind=PlanKind.RECREATE),
    "crash loop": Script(behaves="crash", image="faulty-crash"),
    "never ready": Script(behaves="never_ready", image="faulty-never-ready"),
    "aborted under traffic": Script(acts=((Phase.ANALYZING, "abort"),)),
    "paused and resumed": Script(acts=((Phase.ANALYZING, "pause"), (Phase.PAUSED, "resume"))),
    "somebody fills the quota before the canary": Script(acts=((Phase.PREPARING, "fill_quota"),)),
    "somebody fills the quota half way and leaves it when a person is called": Script(
        acts=((Phase.ANALYZING, "fill_quota"), (Phase.ROLLBACK_BLOCKED, "free_quota"))
    ),
    "somebody takes the old one's number": Script(acts=((Phase.ANALYZING, "take_old"),)),
    "somebody takes the new one's number": Script(acts=((Phase.ANALYZING, "take_new"),)),
    "somebody fights for the number on the way back": Script(
        acts=(
            (Phase.ANALYZING, "abort"),
            (Phase.ROLLING_BACK, "shrink_old"),
            (Phase.ROLLBACK_BLOCKED, "grow_old"),
        )
    ),
    "the API server is away for some passes": Script(
        acts=((Phase.CANARY_STARTING, "away"), (Phase.SOAKING, "away"))
    ),
    "aborted while the API server is away": Script(acts=((Phase.ANALYZING, "abort_away"),)),
}
ACTS = {
    "abort": actions.abort_rollout,
    "pause": actions.pause_rollout,
    "resume": actions.resume_rollout,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_clusters_go_the_same_way(stage, name):
    script = SCRIPTS[name]
    told = play(stage, script, stage.release(script.image), RealFaults(stage))
    memory = in_memory(stage)
    release = memory.release("b", resources={"gpu_product": PRODUCT, "gpus": 1})
    memory.fake.behave(release.fingerprint, script.behaves)
    assert play(memory, script, release, MemoryFaults(memory)) == told


def in_memory(real) -> Stage:
    """A stage of the same size and people whose cluster is a fake."""
    row = make_cluster(f"memory-{real.number}", observed_at=timezone.now())
    Node.objects.create(
        cluster=row, name="gpu-1", gpu_product=PRODUCT, gpus_allocatable=GPUS, gpus_used=2,
        ready=True, changed_at=timezone.now(), observed_at=timezone.now(),
    )  # fmt: skip
    service = Service.objects.create(
        name=f"in-memory-{real.number}", cluster=row, replicas=2, prefetch_seconds=0
    )
    fake = FakeWorkloads(timezone.now(), GPUS)
    stage = Stage(real.olga, real.vic, row, service, fake)
    serve(stage, stage.release("a", resources={"gpu_product": PRODUCT, "gpus": 1}))
    return stage


def play(stage, script: Script, release, faults: Faults) -> tuple[list[tuple[str, int]], str]:
    """Phases with their steps in order, each once in a row, and the cause at the end."""
    rollout = stage.propose(
        release, steps=STEPS, soak_seconds=10, patience_seconds=10, kind=script.kind,
        consent=script.kind is PlanKind.RECREATE,
    )  # fmt: skip
    stage.approve(rollout)
    with faults.upon(rollout):
        for phase, act in script.acts:
            stage.run(rollout, until={phase, *FINAL})
            assert rollout.phase == phase, rollout.why
            if act in ACTS:
                stage.act(ACTS[act], rollout.pk, why="drill")
            else:
                getattr(faults, act)()
        stage.run(rollout)
    passed: list[tuple[str, int]] = []
    for event in RolloutEvent.objects.filter(rollout=rollout, actor="").order_by("id"):
        here = (event.phase, event.step)
        if passed[-1:] != [here]:
            passed.append(here)
    return passed, rollout.cause
