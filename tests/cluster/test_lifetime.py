"""`python -m sandbox.cluster`: goes on with its state, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.cluster.attempt import Attempt
from sandbox.cluster.kube import Access, Kube
from sandbox.process import is_alive
from tests.fixtures.kubernetes import apply, complete, deployment, is_ready, pods, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(data: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    argv = [sys.executable, "-m", "sandbox.cluster", "--data", str(data), "--nodes", "1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            lines = (json.loads(line) for line in process.stdout)
            ready = next((line for line in lines if line.get("state")), {"state": "no output"})
            assert ready["state"] == "ready", ready
            yield process, ready
        finally:
            process.terminate()


def descendants(pid: int) -> list[int]:
    """Children, their children and so on."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return children + [g for c in children for g in descendants(c)]


def family(parent: int, data: Path) -> set[int]:
    metas = (data / "agent").glob("pods/*/containers/*/*/meta")
    attempts = [a for a in (Attempt.adopt(m.parent) for m in metas) if a and a.alive]
    engines = {a.pid() or 0 for a in attempts} | {int(a.meta["shim"]) for a in attempts}
    return set(descendants(parent)) | engines


def test_it_goes_on_with_its_state_and_leaves_no_orphan(tmp_path: Path):
    def ready_pod(kubeconfig: object) -> dict:
        console = Kube(Access.load(Path(str(kubeconfig))))
        return until("pod", lambda: next((p for p in pods(console, "rel") if is_ready(p)), None))

    with started(tmp_path) as (process, line):
        apply(Kube(Access.load(Path(str(line["kubeconfig"])))), deployment("rel"))
        pod = ready_pod(line["kubeconfig"])
        assert complete(pod["status"]["podIP"])[0] == 200
        ours = family(process.pid, tmp_path)
        assert len(ours) >= 8  # etcd, three of Kubernetes, anchor, agent, shim, engine
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until("end of everything", lambda: not any(map(is_alive, ours)), 10)

    with started(tmp_path) as (process, line):
        again = ready_pod(line["kubeconfig"])
        assert again["metadata"]["uid"] == pod["metadata"]["uid"]
        ours = family(process.pid, tmp_path)
        process.terminate()
        assert process.wait(30) == 0
        assert not any(map(is_alive, ours))


def test_it_stops_at_once_while_it_starts(tmp_path: Path):
    argv = [sys.executable, "-m", "sandbox.cluster", "--data", str(tmp_path), "--nodes", "1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        steps = (json.loads(line) for line in process.stdout)
        assert next(s for s in steps if s.get("step") == "certificates")
        ours = set(until("first child", lambda: descendants(process.pid)))
        process.terminate()
        assert process.wait(20) == 0
        assert not any(map(is_alive, ours))
