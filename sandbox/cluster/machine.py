"""The whole sandbox: control plane, GPU nodes, and pods as local processes.

From Python: `with Sandbox(SandboxConfig(...)) as s: ...`; on the command line:
`python -m sandbox.cluster`.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox.cluster import certs, images
from sandbox.cluster.attempt import Attempt
from sandbox.cluster.control import Cluster, Config, Step, silent
from sandbox.cluster.inventory import DEFAULT_POOLS, REGION, GpuPool
from sandbox.cluster.kube import Kube
from sandbox.cluster.network import Network, claim
from sandbox.engines.images import table_entries
from sandbox.process import Process, wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class SandboxConfig:
    data: Path
    bin: Path
    pools: tuple[GpuPool, ...] = DEFAULT_POOLS
    region: str = REGION
    namespaces: list[str] = field(default_factory=lambda: ["models"])
    # Seconds; the kubelet's own are 10 and 300. Short ones make a demonstration bearable.
    backoff: float = 10.0
    backoff_max: float = 300.0
    ports: dict[str, int] = field(default_factory=dict)  # missing ones are chosen


class Sandbox:
    """Start it with `with` from a thread that lives as long as the process."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.cluster = Cluster(
            Config(config.data, config.bin, config.ports, namespaces=config.namespaces)
        )
        self.state = self.cluster.data / "agent"
        self.image_table = self.cluster.data / "images.json"
        self.network: Network | None = None
        self.anchor: Process | None = None
        self.agent: Process | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, step: Step = silent) -> dict[str, float]:
        marks = self.cluster.start(step)
        self.write_images()
        self._claim_network()
        idle = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
        self.anchor = Process("anchor", idle, self.cluster.data / "logs" / "anchor.log")
        self.anchor.start()
        self.start_agent()
        step("nodes", 100)
        return marks

    def _claim_network(self) -> None:
        self.network, same = claim(self.cluster.data)
        if not same:
            # Another sandbox has the addresses of the last start; nothing of it runs any more.
            shutil.rmtree(self.state / "pods", ignore_errors=True)

    def write_images(self) -> None:
        """Bring the standard images up to date; the file's other entries and denials stay."""
        table = images.read_table(self.image_table)
        kept = table.get("images")
        mine: dict[str, object] = dict(kept) if isinstance(kept, Mapping) else {}
        images.write_table(self.image_table, table | {"images": mine | table_entries()})

    def start_agent(self) -> None:
        """Start the node agent and wait until its nodes are registered."""
        if self.anchor is None or self.network is None:
            raise RuntimeError("the sandbox is not started")
        pools = [f"--pool={pool.text()}" for pool in self.config.pools]
        argv = [sys.executable, "-m", "sandbox.cluster.agent", *pools]
        argv += ["--region", self.config.region]
        argv += ["--kubeconfig", str(self.cluster.kubeconfig("node-agent"))]
        argv += ["--state", str(self.state), "--images", str(self.image_table)]
        argv += ["--pod-network", self.network.pods, "--node-address", self.network.first_node]
        argv += ["--certificate", str(self._kubelet_certificate(self.network))]
        argv += ["--owner-pid", str(self.anchor.pid), "--backoff", str(self.config.backoff)]
        argv += ["--backoff-max", str(self.config.backoff_max)]
        env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        log = self.cluster.data / "logs" / "node-agent.log"
        self.agent = Process("node-agent", argv, log, env=env)
        self.agent.start()
        wait_until("node agent", self._agent_answers, 30)

    def _kubelet_certificate(self, network: Network) -> Path:
        nodes = sum(pool.nodes for pool in self.config.pools)
        pki = self.cluster.data / "pki"
        return certs.make_kubelet_certificate(pki, network.node_addresses(nodes))

    def _agent_answers(self) -> bool:
        if self.agent is not None and not self.agent.alive:
            raise RuntimeError(f"node agent exited:\n{self.agent.tail()}")
        try:
            return "nodes" in self.admin(op="state")
        except OSError:
            return False

    def admin(self, **request: object) -> dict[str, Any]:
        """One request to the node agent (see admin.py for the operations)."""
        return ask_agent(self.cluster.data, request)

    def pod_processes(self) -> list[int]:
        """The shims that are alive, by process id."""
        metas = self.state.glob("pods/*/containers/*/*/meta")
        found = (Attempt.adopt(path.parent) for path in metas)
        return [int(a.meta["shim"]) for a in found if a is not None and a.alive]

    def stop(self) -> None:
        """Agent first (it leaves pods alone), then the pods, then the control plane."""
        if self.agent is not None:
            self.agent.stop()
        if self.anchor is not None:
            self.anchor.stop()
            wait_until("end of the pods", lambda: not self.pod_processes(), 15)
        if self.network is not None:
            self.network.release()
        self.agent = self.anchor = self.network = None
        self.cluster.stop()

    def check(self) -> None:
        """Raise if a component of the control plane died; start a dead node agent again."""
        self.cluster.check()
        if self.agent is not None and not self.agent.alive:
            print(f"node agent exited, starting it again:\n{self.agent.tail()}", file=sys.stderr)
            self.start_agent()

    def kube(self, name: str = "admin") -> Kube:
        return self.cluster.kube(name)


def ask_agent(data: Path, request: Mapping[str, object]) -> dict[str, Any]:
    """Send one request to the node agent of the sandbox in `data`.

    Raises OSError when it does not run, RuntimeError with its answer when it refuses.
    """
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(15)
        path = data / "agent" / "admin.sock"
        # Socket paths are limited to about 108 bytes.
        s.connect(min(str(path), os.path.relpath(path), key=len))
        s.sendall(json.dumps(dict(request)).encode() + b"\n")
        line = s.makefile().readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "no answer"}
    if "error" in answer:
        raise RuntimeError(f"{request}: {answer['error']}")
    return answer
