"""The kubelet's part for every node of the sandbox: python -m sandbox.cluster.agent

Plays the kubelet of N nodes in one process. Pods live in processes of their own (see shim.py):
when this agent is killed they go on, and the next agent with the same --state adopts them. They
die when the process given by --owner-pid dies.

Faults come through a Unix socket, STATE/admin.sock; see admin.py for the operations.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.cluster.admin import Admin
from sandbox.cluster.attempt import Attempt
from sandbox.cluster.container import Settings
from sandbox.cluster.events import Events
from sandbox.cluster.images import ImageTable
from sandbox.cluster.inventory import DEFAULT_POOLS, REGION, GpuPool
from sandbox.cluster.kube import Access, AsyncKube, Json
from sandbox.cluster.logs import LogServer
from sandbox.cluster.node import NODES, Node
from sandbox.cluster.pod import PodWorker

KEPT_LOGS = 100  # pods that are gone and whose logs can still be read


class Addresses:
    """One loopback address per pod, handed out in turn so that reuse comes late."""

    def __init__(self, network: str, used: set[str]) -> None:
        self._hosts = [str(h) for h in ipaddress.ip_network(network).hosts()]
        self._used = used
        self._next = 1 + max((self._hosts.index(u) for u in used if u in self._hosts), default=-1)

    def take(self) -> str:
        for _ in self._hosts:
            ip = self._hosts[self._next % len(self._hosts)]
            self._next += 1
            if ip not in self._used:
                self._used.add(ip)
                return ip
        raise RuntimeError("no pod address is free")

    def give_back(self, ip: str) -> None:
        self._used.discard(ip)


class Agent:
    """Follows every pod bound to one of its nodes and gives each a PodWorker."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.state: Path = args.state.resolve()
        self.owner_pid: int = args.owner_pid or os.getpid()
        self.kube = AsyncKube(Access.load(args.kubeconfig))
        self.images = ImageTable(args.images)
        self.settings = Settings(args.backoff, args.backoff_max)
        self.events = Events(self.kube)
        self.nodes: dict[str, Node] = {}
        self.workers: dict[str, PodWorker] = {}
        self.latest: dict[str, Json] = {}  # every pod bound to our nodes, by uid
        self.addresses = Addresses(args.pod_network, self._addresses_on_disk())

    def _addresses_on_disk(self) -> set[str]:
        return {json.loads(p.read_text())["ip"] for p in (self.state / "pods").glob("*/pod")}

    # -- pods -------------------------------------------------------------------
    def on_list(self, items: list[Json]) -> None:
        current = {
            p["metadata"]["uid"]: p for p in items if p["spec"].get("nodeName") in self.nodes
        }
        for uid in [u for u in {*self.latest, *self.workers} if u not in current]:
            self._deleted(uid)
        for pod in current.values():
            self._changed(pod)
        self._sweep(current)

    def on_event(self, kind: str, pod: Json) -> None:
        if pod["spec"].get("nodeName") not in self.nodes:
            return
        if kind == "DELETED":
            self._deleted(pod["metadata"]["uid"])
        else:
            self._changed(pod)

    def _changed(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        known = self.latest.get(uid)
        # Our own patches answer faster than the watch: never go back to an older object.
        if known is None or int(pod["metadata"]["resourceVersion"]) >= int(
            known["metadata"]["resourceVersion"]
        ):
            self.latest[uid] = pod
        node = self.nodes[pod["spec"]["nodeName"]]
        if not node.up.is_set():
            return  # a lost node hears nothing
        worker = self.workers.get(uid)
        if worker is None:
            if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                return
            worker = self.workers[uid] = PodWorker(self, node, pod)
        worker.update(self.latest[uid])

    def _deleted(self, uid: str) -> None:
        self.latest.pop(uid, None)
        worker = self.workers.get(uid)
        if worker is not None and worker.node.up.is_set():
            worker.removed()

    def forget(self, worker: PodWorker) -> None:
        self.workers.pop(worker.uid, None)
        self._prune_logs()

    def find_log(
        self, pod: str, container: str, previous: bool
    ) -> tuple[Path, Callable[[], bool]] | None:
        """Of the current attempt or the one before, for the log listeners."""
        found = [c for w in self.workers.values() if w.key == pod for c in w.containers]
        one = next((c for c in found if c.name == container), None)
        if one is None:
            return None
        attempt = max(0, one.restarts - 1) if previous else one.restarts
        runs = one.attempt
        path = one.pod.log_path(container, attempt)
        return path, lambda: not previous and runs is not None and runs.running

    def _prune_logs(self) -> None:
        """Keep the logs of the pods that are there and of the latest others."""
        folders = [p for p in (self.state / "logs").glob("*") if p.is_dir()]
        gone = [p for p in folders if p.name.rpartition("_")[2] not in self.workers]
        gone.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        for path in gone[KEPT_LOGS:]:
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self, current: dict[str, Json]) -> None:
        """Kill what an earlier agent left for pods that are deleted by now."""
        for path in (self.state / "pods").glob("*"):
            if path.name in current or path.name in self.workers:
                continue
            for directory in path.glob("containers/*/*"):
                attempt = Attempt.adopt(directory)
                if attempt is not None:
                    attempt.signal(signal.SIGKILL, group=True)
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.addresses.give_back(json.loads((path / "pod").read_text())["ip"])
            shutil.rmtree(path, ignore_errors=True)

    # -- nodes --------------------------------------------------------------------
    async def _register_nodes(self) -> None:
        address = ipaddress.ip_address(self.args.node_address)
        for pool in self.args.pool or DEFAULT_POOLS:
            for index, name in enumerate(pool.node_names()):
                ip = str(address + len(self.nodes))
                self.nodes[name] = Node(self.kube, pool, index, ip, self.args.region)
        await asyncio.gather(*(node.register() for node in self.nodes.values()))
        _, known = await self.kube.list_all(NODES)
        for node in known:  # of an earlier start with other pools
            if node["metadata"]["name"] not in self.nodes:
                await self.kube.call("DELETE", f"{NODES}/{node['metadata']['name']}")

    def node_down(self, name: str, *, power_off: bool) -> None:
        """Silence a node; with power_off its processes vanish as well."""
        self.nodes[name].up.clear()
        if power_off:
            for worker in [w for w in self.workers.values() if w.node.name == name]:
                worker.power_off()

    async def node_up(self, name: str) -> None:
        node = self.nodes[name]
        node.up.set()
        await node.renew_lease()
        await node.report()
        for uid in [u for u, w in self.workers.items() if w.node is node and u not in self.latest]:
            self.workers[uid].removed()  # deleted while the node was away
        for pod in [p for p in self.latest.values() if p["spec"]["nodeName"] == name]:
            self._changed(pod)

    async def set_disk(self, name: str, *, full: bool) -> None:
        """Report disk pressure: the node takes no new pods. Running ones are not evicted."""
        self.nodes[name].disk_full = full
        await self.nodes[name].report()

    # -- life -----------------------------------------------------------------------
    async def run(self) -> None:
        (self.state / "pods").mkdir(parents=True, exist_ok=True)
        await self._register_nodes()
        stop = asyncio.Event()
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, stop.set)
        admin, log_server = Admin(self), LogServer(self.find_log, self.args.certificate)
        await admin.start(self.state / "admin.sock")
        for node in self.nodes.values():
            await log_server.listen(node.ip)
        jobs = [
            asyncio.create_task(n.heartbeat(self.args.lease_renew)) for n in self.nodes.values()
        ]
        jobs.append(asyncio.create_task(self.events.run()))
        bound = self.kube.follow(
            "/api/v1/pods", self.on_list, self.on_event, fieldSelector="spec.nodeName!="
        )
        jobs.append(asyncio.create_task(bound))
        print("ready", flush=True)
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*jobs, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in [*jobs, stopping]:
            task.cancel()
        for worker in self.workers.values():
            worker.abandon()
        await admin.stop()
        log_server.close()
        await self.kube.close()
        for task in done - {stopping}:
            task.result()  # a job that ended by itself failed: say why


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--kubeconfig", type=Path, required=True)
    p.add_argument("--state", type=Path, required=True)
    p.add_argument("--images", type=Path, required=True, help="JSON, see images.py")
    p.add_argument("--certificate", type=Path, required=True, help="of the nodes' port for logs")
    p.add_argument("--owner-pid", type=int, help="pods die with it (default: with the agent)")
    p.add_argument("--pool", type=GpuPool.parse, action="append", metavar="NODESxGPUSxPRODUCT")
    p.add_argument("--region", default=REGION, help="in the labels of the nodes")
    p.add_argument("--pod-network", required=True, help="part of 127.0.0.0/8")
    p.add_argument("--node-address", required=True, help="of the first node")
    p.add_argument("--lease-renew", type=float, default=2.0, help="seconds; upstream: 10")
    p.add_argument("--backoff", type=float, default=10.0, help="seconds, of crashes and pulls")
    p.add_argument("--backoff-max", type=float, default=300.0)
    return p.parse_args()


async def main() -> None:
    await Agent(parse_args()).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
