"""Bring the demo's services up as people would: release, proposal, approval, and wait."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from django.utils import timezone

from console.demo.cast import LARGE, SMALL
from console.demo.people import viewer_named
from console.demo.placement import find_cluster
from console.demo.services import LONGEST_CONTEXT, DemoService, rows_by_name
from console.demo.supplies import DemoRelease, Supplies
from fleet.actions.releases import create_release
from fleet.actions.rollouts import propose_rollout
from fleet.queries.releases import list_releases
from fleet.queries.rollouts import RolloutRow, list_rollouts
from fleet.queries.services import ServiceRow
from tenants.actions.changes import decide
from tenants.base.scope import fleet_scope
from tenants.errors import Unavailable
from tenants.queries.changes import latest_change

Progress = Callable[[float, str], None]
LOOK_SECONDS = 1.0
OBSERVED_SECONDS = 240.0  # after a restart the observer first waits out its back-off
ROLLOUT_SECONDS = 900.0  # a real engine on a busy machine with two cores loads for minutes
MODEL = {"name": "/models/tiny", "licence": "Apache-2.0"}
PROBES = {
    "startup_seconds": 300,
    "pre_stop_seconds": 3,
    "drain_seconds": 20,
    "teardown_seconds": 10,
}
WHY = "The demo's first release"


REAL = ("--dtype=float32", "--enforce-eager", "--load-format=dummy")
VLLM = DemoRelease(
    "vllm-cpu",
    "",
    "A real vLLM on CPU with random weights",
    (*REAL, "--max-num-seqs=4"),
    {"cpu": "2", "memory": "4Gi"},
)
STANDIN = DemoRelease("vllm-standin", "0.32.0", "The stand-in engine in the manner of vLLM 0.32.0")


def bad(fault: str, note: str) -> DemoRelease:
    return DemoRelease(f"vllm-standin-faulty-{fault}", "0.32.0", note)


# Made, not rolled out: something good and something bad to try a rollout with.
TO_TRY = {
    SMALL: (DemoRelease("vllm-standin", "0.31.0", "The stand-in engine as of vLLM 0.31.0"),),
    LARGE: (
        DemoRelease("vllm-standin", "0.32.1", "A newer one, which works"),
        bad("slow", "Three times slower: the gates must refuse it"),
        bad("crash", "Ends right after its start: goes back as soon as the canary crashes"),
        bad("wrong-answer", "Answers without a token: its first probe must refuse it"),
    ),
}


def bring_up(
    slug: str, demos: Sequence[DemoService], table: Path, *, engine: str, progress: Progress
) -> None:
    """Roll the first release of each service out, and come back when all of them answer."""
    with fleet_scope():
        if all(row.release_id for row in rows_of(demos)):
            return
    supplies = Supplies(table, viewer_named("operator"))
    wait_for("The cluster's first observation", lambda: observed(slug), OBSERVED_SECONDS)
    for demo in demos:
        first = VLLM if engine == "vllm" and demo.name == SMALL else STANDIN
        supplies.resolve(first, *TO_TRY.get(demo.name, ()))
        with fleet_scope():
            start(demo, rows_by_name()[demo.name], first, supplies)
    deadline = time.monotonic() + ROLLOUT_SECONDS
    for percent, text in follow(demos):
        progress(percent, text)
        if time.monotonic() > deadline:
            raise Unavailable(f"The demo's services are not up after {ROLLOUT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)


def observed(slug: str) -> bool:
    cluster = find_cluster(slug)
    return cluster is not None and cluster.nodes > 0 and not cluster.stale


def start(demo: DemoService, row: ServiceRow, first: DemoRelease, supplies: Supplies) -> None:
    """Release, propose and approve, each by whom it belongs to; what is done stays done."""
    if row.release_id is not None:
        return
    if row.rollout_id is None:
        operator = viewer_named("operator")
        release_id = release(demo, row, first, supplies)
        rollout = propose_rollout(operator, row.id, release_id, soak_seconds=0, reason=WHY)
        approve(rollout.pk)
        for other in TO_TRY.get(demo.name, ()):
            release(demo, row, other, supplies)
    else:
        approve(row.rollout_id)


def release(demo: DemoService, row: ServiceRow, wanted: DemoRelease, supplies: Supplies) -> int:
    operator = viewer_named("operator")
    for known in list_releases(operator, service_id=row.id):
        if known.note == wanted.note:
            return known.id
    made = create_release(
        operator,
        row.id,
        model=MODEL | supplies.model(),
        image=supplies.image(wanted),
        arguments=(f"--max-model-len={LONGEST_CONTEXT}", *wanted.arguments),
        resources={"gpu_product": demo.gpu_product, "cpu": "1", "memory": "2Gi"} | wanted.resources,
        probes=PROBES,
        note=wanted.note,
    )
    return made.pk


def approve(rollout_id: int) -> None:
    approver = viewer_named("approver")
    change = latest_change(approver, kind="rollout", target_id=rollout_id)
    if change and change.state == "waiting":
        decide(approver, change.pk, digest=change.digest, approve=True, why=WHY)


def rows_of(demos: Sequence[DemoService]) -> list[ServiceRow]:
    known = rows_by_name()
    return [known[demo.name] for demo in demos]


def follow(demos: Sequence[DemoService]) -> Iterator[tuple[float, str]]:
    """Yield percent and a sentence until every service has a release; raise when one went back."""
    while True:
        with fleet_scope():
            rows = rows_of(demos)
            last = {row.id: newest(row) for row in rows}
        waiting = [row for row in rows if row.release_id is None]
        if not waiting:
            return
        for row in waiting:
            rollout = last[row.id]
            # It may have succeeded between the two looks.
            if rollout and not rollout.is_open and rollout.phase != "succeeded":
                raise Unavailable(f"{row.name} ended as {rollout.phase}: {rollout.why}")
        done = sum(min(1.0, row.serving / max(1, row.replicas)) for row in rows)
        texts = [f"{row.name}: {told(last[row.id])}" for row in waiting]
        yield 100 * done / len(rows), "; ".join(texts)


def newest(row: ServiceRow) -> RolloutRow | None:
    return next(iter(list_rollouts(viewer_named("operator"), service_id=row.id)), None)


def told(rollout: RolloutRow | None) -> str:
    return f"{rollout.phase.replace('_', ' ')}, {rollout.why}" if rollout else "waits"


def wait_for(what: str, check: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what}: not within {seconds:.0f} s at {timezone.now():%H:%M} UTC")
        time.sleep(LOOK_SECONDS)
