"""Approve and abort rollouts on a real cluster, with worker, beat and observer as processes.

python -m bench.rollouts [--runs 5]

Prints seconds from the approval to the first object in the cluster (limit 2 s), and from the
abort to the routing snapshot that gives the old release all traffic (limit 5 s). Status 1 when a
limit is broken. Builds the control plane when it is not there yet.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.surroundings import stores_and_cluster
from sandbox.cluster.inventory import GpuPool
from sandbox.cluster.machine import Sandbox
from sandbox.stores.launcher import scratch_folder

APPROVAL_LIMIT, ABORT_LIMIT = 2.0, 5.0
PRODUCT = "NVIDIA-L40S"
PROCESSES = (
    ("celery", "-A", "console", "worker", "-c", "2", "-l", "WARNING"),
    ("celery", "-A", "console", "beat", "-l", "WARNING", "-s"),
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    with scratch_folder() as folder, surroundings(Path(folder)) as sandbox:
        import bench.rollouts.walk as walk  # after django.setup

        place = walk.prepare(sandbox)
        measured = [walk.once(place) for _ in range(runs)]
    good = report("approval to first cluster write", [a for a, _ in measured], APPROVAL_LIMIT)
    back = report("abort to all traffic on the old one", [b for _, b in measured], ABORT_LIMIT)
    return 0 if good and back else 1


def report(name: str, seconds: list[float], limit: float) -> bool:
    found = sorted(seconds)
    middle, worst = found[len(found) // 2], found[-1]
    good = worst <= limit
    verdict = "kept" if good else "BROKEN"
    print(f"{name:38} median {middle:5.2f} s  worst {worst:5.2f} s  limit {limit:.0f} s  {verdict}")
    return good


@contextmanager
def surroundings(folder: Path) -> Iterator[Sandbox]:
    """Stores, tables, a cluster of one node, and the processes of the console."""
    with ExitStack() as stack:
        pool = GpuPool(1, 4, PRODUCT)
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
