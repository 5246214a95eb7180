"""What a look at a large cluster costs: 500 services, 1,000 nodes, 5,000 pods on a real API server.

python -m bench.fleet [--pods 5000] [--nodes 1000] [--services 500] [--looks 5]

The objects are written directly: no controller and no node runs, so nothing moves by itself. Prints
CPU seconds of the observer (limit 1) and of PostgreSQL a look, and the memory that the observer
takes (limit 300 MB). Status 1 when a limit is broken.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.pages.cpu import Cpu
from bench.surroundings import stores_and_cluster
from sandbox.cluster.inventory import GpuPool
from sandbox.cluster.machine import Sandbox
from sandbox.stores.launcher import scratch_folder

CPU_LIMIT, MEMORY_LIMIT = 1.0, 300.0


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, number in (("pods", 5000), ("nodes", 1000), ("services", 500), ("looks", 5)):
        options.add_argument(f"--{name}", type=int, default=number)
    given = options.parse_args()
    with scratch_folder() as folder, surroundings(folder) as sandbox:
        import bench.fleet.crowd as crowd  # after django.setup
        from fleet.management.commands.observe import collect_seldom

        began = time.monotonic()
        row = crowd.write(sandbox, given.services, given.nodes, given.pods)
        print(f"written in {time.monotonic() - began:.0f} s", flush=True)
        collect_seldom()
        cpu = Cpu(folder / "stores" / "pg")
        looks = [crowd.look(row, cpu) for _ in range(given.looks + 1)]
        print(crowd.seen())
    report("first look", looks[:1])
    return 0 if report("later looks", looks[1:]) else 1


def report(name: str, looks: list[tuple[float, float, float]]) -> bool:
    """Of (wall, Python's CPU, PostgreSQL's CPU) in seconds."""
    wall, python, postgres = (
        sorted(column)[len(looks) // 2] for column in zip(*looks, strict=True)
    )
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kept = python <= CPU_LIMIT and megabytes <= MEMORY_LIMIT
    print(
        f"{name:12} {wall:5.2f} s  CPU {python:.2f} + {postgres:.2f} s (limit {CPU_LIMIT:.0f} s)"
        f"  peak {megabytes:.0f} MB (limit {MEMORY_LIMIT:.0f})  {'kept' if kept else 'BROKEN'}"
    )
    return kept


@contextmanager
def surroundings(folder: Path) -> Iterator[Sandbox]:
    """Stores, tables, and a control plane whose controllers and nodes are stopped."""
    with stores_and_cluster(folder, GpuPool(1, 4, "NVIDIA-L40S")) as sandbox:
        for name, running_process in sandbox.cluster.processes.items():
            if name not in ("etcd", "apiserver"):
                running_process.stop()
        import django

        django.setup()
        yield sandbox


if __name__ == "__main__":
    sys.exit(main())
