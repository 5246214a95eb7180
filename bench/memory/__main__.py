"""Memory of a running `make up`, by process, against its limit.

python -m bench.memory [--data DIR]

Sums PSS, in which a page that n processes share counts 1/n for each. The limit is 3 GB with the
stand-in engine and 8 GB with a real vLLM. Status 1 when it is broken. As another person than the
one who runs it (or than root), the kernel refuses to tell.
"""

import argparse
import os
import sys
from pathlib import Path

from sandbox.up.folder import STATE, holder, read_json
from sandbox.up.options import data_folder

STANDIN_GB, VLLM_GB = 3.0, 8.0
# The first that fits a command line names its line of the table.
LINES = (
    ("PostgreSQL", ("postgres",)),
    ("Valkey", ("valkey-server",)),
    ("etcd", ("/etcd",)),
    ("Kubernetes API server", ("kube-apiserver",)),
    ("Kubernetes controllers", ("kube-controller-manager",)),
    ("Kubernetes scheduler", ("kube-scheduler",)),
    ("stand-in engines", ("sandbox.engines.standin",)),
    ("anchor of the pod network", ("-I -S -c import signal",)),
    ("node agent", ("sandbox.cluster.agent",)),
    ("cluster's supervisor", ("sandbox.cluster",)),
    ("console", ("uvicorn", "console.asgi")),
    ("Celery worker", ("celery", "worker")),
    ("Celery clock", ("celery", "beat")),
    ("observer", ("manage.py", "observe")),
    ("gateway", ("-m gateway",)),
    ("clients", ("sandbox.traffic",)),
    ("registry of images and models", ("sandbox.registry",)),
    ("vLLM", ("vllm",)),
    ("vLLM", ("VLLM",)),
    ("supervisor of all", ("sandbox.up",)),
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", type=Path, help="its folder; default: QM_DATA, .qm")
    data = options.parse_args().data or data_folder(os.environ)
    pid = holder(data)
    if pid is None:
        print(f"No `make up` runs on {data}: start one, or name its folder by --data.")
        return 1
    state = (read_json(data / STATE) or {}).get("state", "starting")
    table: dict[str, list[float]] = {}
    for member in family(pid):
        try:
            words = Path(f"/proc/{member}/cmdline").read_bytes().decode(errors="replace")
            used = pss(member)
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we counted
        table.setdefault(line_of(words.replace("\0", " ")), []).append(used)
    return show(table, state)


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for member in found:  # grows while it is walked
        found += children.get(member, [])
    return found


def pss(pid: int) -> float:
    """GB; 0 of a process that ended and waits for its parent."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def line_of(command: str) -> str:
    for name, words in LINES:
        if all(word in command for word in words):
            return name
    return command[:60]


def show(table: dict[str, list[float]], state: str) -> int:
    for name, used in sorted(table.items(), key=lambda row: -sum(row[1])):
        print(f"{name:28} {len(used):3} processes {sum(used) * 1000:8.0f} MB")
    whole = sum(map(sum, table.values()))
    limit = VLLM_GB if "vLLM" in table else STANDIN_GB
    verdict = "within" if whole <= limit else "BEYOND"
    print(f"{whole:.2f} GB in all, state {state}: {verdict} the limit of {limit:.0f} GB")
    return 0 if whole <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
