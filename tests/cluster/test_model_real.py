"""The cluster in memory, on which thousands of walks are played, against the real one.

The same script on both must go through the same phases, with the same replicas and the same shares
of the traffic, to the same end. Where they part, the walks in memory prove nothing.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.models import Deployment, Node, RolloutEvent, Service
from fleet.rules.phases import FINAL, Phase, PlanKind
from fleet.rules.situation import StepPlan
from sandbox.engines.images import UNKNOWN_REFERENCE
from tests.cluster.rollout_stage import PRODUCT
from tests.cluster.test_rollouts_faulted import QUOTAS
from tests.cluster.test_rollouts_real import make_thief
from tests.fakes.workloads import FakeWorkloads
from tests.fixtures.kubernetes import PODS
from tests.fleet.drive.stage import Stage, serve
from tests.fleet.makers import make_cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
STEPS = (StepPlan(50, 5, 20),)
GPUS = 4  # of the one node, with two replicas on it


LARGE = {"gpus": 2, "arguments": ["--tensor-parallel-size=2"]}


@dataclass(frozen=True)
class Script:
    """`acts`: what a person does when a phase is reached, in this order. `meanwhile`: what happens
    between approval and start.
    """

    acts: tuple[tuple[Phase, str], ...] = ()
    behaves: str = "good"  # in memory
    image: str = "standin-0.32.1"  # on the real one, to the same effect
    reference: str = ""
    errors: float = 0.0  # in memory, of its requests
    kind: PlanKind = PlanKind.SURGE_CANARY
    meanwhile: str = ""
    gpus: int = 1
    arguments: list[str] = field(default_factory=list)


SCRIPTS = {
    "blue-green": Script(kind=PlanKind.BLUE_GREEN),
    "replace in place": Script(kind=PlanKind.REPLACE),
    "recreate": Script(kind=PlanKind.RECREATE),
    "crash loop": Script(behaves="crash", image="faulty-crash"),
    "out of memory": Script(behaves="oom", image="faulty-oom"),
    "image pull": Script(behaves="pull", reference=UNKNOWN_REFERENCE),
    "never ready": Script(behaves="never_ready", image="faulty-never-ready"),
    "gate fails": Script(errors=0.5, image="faulty-truncated"),
    "no place": Script(meanwhile="theft", **LARGE),
    "quota": Script(meanwhile="quota", behaves="quota"),
    "aborted under traffic": Script(acts=((Phase.ANALYZING, "abort"),)),
    "paused and resumed": Script(acts=((Phase.ANALYZING, "pause"), (Phase.PAUSED, "resume"))),
    "a pod deleted by hand": Script(acts=((Phase.SOAKING, "delete"),)),
}
ACTS = {
    "abort": actions.abort_rollout,
    "pause": actions.pause_rollout,
    "resume": actions.resume_rollout,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_clusters_go_the_same_way(stage, name):
    script = SCRIPTS[name]
    resources = {"gpu_product": PRODUCT, "gpus": script.gpus, "cpu": "100m", "memory": "256Mi"}
    release = stage.release(
        script.image, script.reference, resources=resources, arguments=script.arguments
    )
    told = play(stage, script, release)
    memory = in_memory(stage)
    resources = {"gpu_product": PRODUCT, "gpus": script.gpus}
    release = memory.release("b", resources=resources, arguments=script.arguments)
    memory.fake.behave(release.fingerprint, script.behaves)
    memory.errors = script.errors
    assert play(memory, script, release) == told


def in_memory(real) -> Stage:
    """A stage of the same size and people whose cluster is a fake."""
    row = make_cluster(f"memory-{real.number}", observed_at=timezone.now())
    Node.objects.create(
        cluster=row, name="gpu-1", gpu_product=PRODUCT, gpus_allocatable=GPUS, gpus_used=2,
        ready=True, changed_at=timezone.now(), observed_at=timezone.now(),
    )  # fmt: skip
    service = Service.objects.create(name=f"in-memory-{real.number}", cluster=row, replicas=2)
    fake = FakeWorkloads(timezone.now(), GPUS)
    stage = Stage(real.olga, real.vic, row, service, fake)
    serve(stage, stage.release("a", resources={"gpu_product": PRODUCT, "gpus": 1}))
    return stage


@dataclass
class Told:
    """Phases with their steps in order, each once in a row, and the cause at the end. What the
    rollout declared of replicas and shares, each number in its order, and what is there at the end.
    """

    passed: list[tuple[str, int]]
    cause: str
    declared: dict[str, list[int]]
    at_the_end: list[tuple[int, int, int]]  # weight, declared replicas, pods of old and new


NUMBERS = ("replicas_old", "replicas_new", "weight_old", "weight_new")


def play(stage, script: Script, release) -> Told:
    rollout = stage.propose(
        release, steps=STEPS, soak_seconds=10, patience_seconds=10, kind=script.kind,
        consent=script.kind is PlanKind.RECREATE,
    )  # fmt: skip
    stage.approve(rollout)
    with meanwhile(stage, script.meanwhile):
        for phase, act in script.acts:
            stage.run(rollout, until={phase, *FINAL})
            if act == "delete":
                delete_pod(stage, release.fingerprint)
            else:
                stage.act(ACTS[act], rollout.pk, why="drill")
        stage.run(rollout)
    passed: list[tuple[str, int]] = []
    declared: dict[str, list[int]] = {name: [] for name in NUMBERS}
    for event in RolloutEvent.objects.filter(rollout=rollout, actor="").order_by("id"):
        here = (event.phase, event.step)
        if passed[-1:] != [here]:
            passed.append(here)
        for name in NUMBERS:
            declared[name] += [event.detail[name]] if name in event.detail else []
    return Told(passed, rollout.cause, declared, at_the_end(stage, rollout))


def at_the_end(stage, rollout) -> list[tuple[int, int, int]]:
    found = []
    for release in (rollout.from_release, rollout.to_release):
        row = Deployment.objects.filter(service=stage.service, release=release).first()
        weight, replicas = (row.weight, row.replicas) if row else (0, 0)
        found.append((weight, replicas, pods_of(stage, release.fingerprint)))
    return found


def pods_of(stage, fingerprint: str) -> int:
    if isinstance(stage, Stage):
        pods = stage.fake._pods_of(fingerprint)
        return sum("deletionTimestamp" not in p["metadata"] for p in pods)
    return len(stage.pods(fingerprint))


def delete_pod(stage, fingerprint: str) -> None:
    if isinstance(stage, Stage):
        meta = stage.fake._pods_of(fingerprint)[0]["metadata"]
        stage.fake.delete("Pod", meta["name"], meta["uid"])
    else:
        name = stage.pods(fingerprint)[0]["metadata"]["name"]
        stage.cluster.admin.delete(f"{PODS}/{name}")


@contextmanager
def meanwhile(stage, what: str) -> Any:
    """Of a quota the cluster in memory knows by the release's behaviour."""
    if isinstance(stage, Stage):
        stage.fake.gpus -= what == "theft"
        yield
    elif what == "theft":
        thief = make_thief(stage)
        try:
            yield
        finally:
            stage.cluster.remove(thief)
    elif what == "quota":
        spent = {"metadata": {"name": "spent"}, "spec": {"hard": {"requests.nvidia.com/gpu": "2"}}}
        stage.cluster.admin.post(QUOTAS, spent)
        try:
            yield
        finally:
            stage.cluster.admin.delete(f"{QUOTAS}/spent")
    else:
        yield
