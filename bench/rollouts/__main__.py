"""Approve and abort rollouts on a real cluster, with worker, beat and observer as processes.

python -m bench.rollouts [--runs 5] [--open 0] [--aborts 20] [--peer]

Prints seconds from the approval to the first object in the cluster, from the abort to the routing
snapshot that gives the old release all traffic, from a pod's deletion to the snapshot without it,
and what a rollout without gates takes besides start-up and drain. With `--open 50` pod, and abort
so many times of each kind, again while as many rollouts are open, each with two engines of its own,
and the longest that any of them waited past its time. With `--peer` the same by a plain Deployment
with RollingUpdate, its undo half way against the abort, and how many times as long it takes.
Limits hold for p95. Status 1 when one is broken. Builds the control plane when it is not there yet.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from bench.surroundings import stores_and_cluster
from sandbox.cluster.inventory import GpuPool
from sandbox.cluster.machine import Sandbox
from sandbox.stores.launcher import scratch_folder

APPROVAL_LIMIT, ABORT_LIMIT, POD_LIMIT, ADDED_LIMIT, OVERDUE_LIMIT = 1.0, 2.0, 1.0, 10.0, 15.0
PRODUCT, GPUS = "NVIDIA-L40S", 4  # a node
WATCHED = 60.0  # seconds
PROCESSES = (
    ("celery", "-A", "console", "worker", "-c", "2", "-l", "WARNING"),
    ("celery", "-A", "console", "beat", "-l", "WARNING", "-s"),
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--open", type=int, default=0)
    options.add_argument("--aborts", type=int, default=20, help="of each kind, with --open")
    options.add_argument("--peer", action="store_true")
    given = options.parse_args()
    nodes = 1 + given.peer + (2 * given.open + GPUS - 1) // GPUS
    with scratch_folder() as folder, surroundings(Path(folder), nodes) as sandbox:
        import bench.rollouts.walk as walk  # after django.setup

        place = walk.prepare(sandbox)
        measured = [walk.once(place) for _ in range(given.runs)]
        good = report("approval to first cluster write", [a for a, _ in measured], APPROVAL_LIMIT)
        aborts = [b for _, b in measured]
        good &= report("abort to all traffic on the old one", aborts, ABORT_LIMIT)
        blue = [walk.once(place, walk.PlanKind.BLUE_GREEN)[1] for _ in range(given.runs)]
        good &= report("abort of a blue-green one", blue, ABORT_LIMIT)
        pods = [walk.pod_to_snapshot(place) for _ in range(given.runs)]
        good &= report("pod to routing snapshot", pods, POD_LIMIT)
        whole = [walk.added(place) for _ in range(given.runs)]
        good &= report("added to start-up and drain", whole, ADDED_LIMIT)
        if given.peer:
            compare(place, whole, aborts)
        if given.open:
            good &= crowded(place, given.open, given.runs, given.aborts)
    return 0 if good else 1


def compare(place: Any, whole: list[float], aborts: list[float]) -> None:
    """As many runs of a plain Deployment; it has no limit to keep."""
    import bench.rollouts.peer as peer  # after django.setup

    found = peer.placed(place)
    for name, ours, measure in (
        ("added, plain Deployment", whole, peer.added),
        ("undo half way, plain Deployment", aborts, peer.undone),
    ):
        theirs = [measure(found) for _ in ours]
        ratio = median(theirs) / median(ours)
        print(f"{name:36} {spread(theirs)}  {ratio:.2f} times ours", flush=True)


def crowded(place: Any, count: int, runs: int, aborts: int) -> bool:
    import bench.rollouts.crowd as crowd  # after django.setup
    import bench.rollouts.walk as walk

    began = time.monotonic()
    held = crowd.fill(place, count)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{count} rollouts open after {time.monotonic() - began:.0f} s, load {load}", flush=True)
    good = report("longest wait of an open rollout", [crowd.overdue(WATCHED)], OVERDUE_LIMIT)
    pods = [walk.pod_to_snapshot(place) for _ in range(runs)]
    good &= report(f"pod to routing snapshot, {count} open", pods, POD_LIMIT)
    backs = crowd.aborted(held, aborts)
    for words, seconds in backs.seconds.items():
        name = f"abort, {words}, {count} open"
        good &= report(name, seconds, ABORT_LIMIT) if seconds else False
    print(
        f"{backs.least_open} of {count} open at every abort, after {time.monotonic() - began:.0f} s"
    )
    return good


def report(name: str, seconds: list[float], limit: float) -> bool:
    good = p95(seconds) <= limit
    verdict = "kept" if good else "BROKEN"
    print(f"{name:36} {spread(seconds)}  limit {limit:.0f} s  {verdict}", flush=True)
    return good


def spread(seconds: list[float]) -> str:
    middle, most = median(seconds), max(seconds)
    return f"median {middle:5.2f} s  p95 {p95(seconds):5.2f} s  worst {most:5.2f} s"


def median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[ceil(0.95 * len(seconds)) - 1]


@contextmanager
def surroundings(folder: Path, nodes: int) -> Iterator[Sandbox]:
    """Stores, tables, a cluster of some nodes, and the processes of the console."""
    with ExitStack() as stack:
        pool = GpuPool(nodes, GPUS, PRODUCT)
        sandbox = stack.enter_context(stores_and_cluster(folder, pool))
        for command in PROCESSES:
            more = [str(folder / "beat")] if command[-1] == "-s" else []
            stack.enter_context(process([sys.executable, "-m", *command, *more]))
        stack.enter_context(process([sys.executable, "manage.py", "observe"]))
        import django

        django.setup()
        yield sandbox


@contextmanager
def process(command: list[str]) -> Iterator[None]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()


if __name__ == "__main__":
    sys.exit(main())
