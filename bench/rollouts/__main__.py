"""Approve and abort rollouts on a real cluster, with worker, beat and observer as processes.

python -m bench.rollouts [--runs 5] [--open 0]

Prints seconds from the approval to the first object in the cluster (limit 2 s), and from the
abort to the routing snapshot that gives the old release all traffic (limit 5 s). With `--open 50`
the same abort while as many rollouts are open, each with two engines of its own, and the longest
that any of them waited past its time (limit 15 s). Status 1 when a limit is broken. Builds the
control plane when it is not there yet.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.surroundings import stores_and_cluster
from sandbox.cluster.inventory import GpuPool
from sandbox.cluster.machine import Sandbox
from sandbox.stores.launcher import scratch_folder

APPROVAL_LIMIT, ABORT_LIMIT, OVERDUE_LIMIT = 2.0, 5.0, 15.0
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
    given = options.parse_args()
    nodes = 1 + (2 * given.open + GPUS - 1) // GPUS
    with scratch_folder() as folder, surroundings(Path(folder), nodes) as sandbox:
        import bench.rollouts.walk as walk  # after django.setup

        place = walk.prepare(sandbox)
        measured = [walk.once(place) for _ in range(given.runs)]
        good = report("approval to first cluster write", [a for a, _ in measured], APPROVAL_LIMIT)
        good &= report("abort to all traffic on the old one", [b for _, b in measured], ABORT_LIMIT)
        if given.open:
            good &= crowded(place, given.open, given.runs)
    return 0 if good else 1


def crowded(place: Any, count: int, runs: int) -> bool:
    import bench.rollouts.crowd as crowd  # after django.setup

    began = time.monotonic()
    held = crowd.fill(place, count)
    print(f"{count} rollouts open after {time.monotonic() - began:.0f} s", flush=True)
    good = report("longest wait of an open rollout", [crowd.overdue(WATCHED)], OVERDUE_LIMIT)
    back = crowd.aborted(held, 4 * runs)
    return good & report(f"abort with {count} open", back, ABORT_LIMIT)


def report(name: str, seconds: list[float], limit: float) -> bool:
    found = sorted(seconds)
    middle, worst = found[len(found) // 2], found[-1]
    good = worst <= limit
    verdict = "kept" if good else "BROKEN"
    told = f"{name:38} median {middle:5.2f} s  worst {worst:5.2f} s  limit {limit:.0f} s  {verdict}"
    print(told, flush=True)
    return good


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
