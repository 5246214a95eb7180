"""One fake GPU node in the eyes of the control plane: its labels, conditions and lease."""

import asyncio
import contextlib
import time

import httpx

from sandbox.cluster import logs
from sandbox.cluster.inventory import GpuPool, node_labels
from sandbox.cluster.kube import MERGE, STRATEGIC, ApiStatusError, AsyncKube, Json
from sandbox.cluster.podstatus import rfc3339

NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Node:
    """Registers one node and keeps it alive while `up` is set."""

    def __init__(self, kube: AsyncKube, pool: GpuPool, index: int, ip: str, region: str) -> None:
        self._kube, self.ip = kube, ip
        self.name = pool.node_names()[index]
        self.up = asyncio.Event()
        self.up.set()
        self.disk_full = False
        self.cached: set[str] = set()  # image ids
        self._labels = node_labels(pool, index, region)
        self._capacity = {
            "cpu": "64",
            "memory": "512Gi",
            "ephemeral-storage": "2Ti",
            "pods": "110",
            "nvidia.com/gpu": str(pool.gpus),
        }

    async def register(self) -> None:
        meta = {"name": self.name, "labels": self._labels}
        try:
            body = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
            await self._kube.call("POST", NODES, body)
        except ApiStatusError as exc:
            if exc.code != 409:
                raise
            await self._kube.call("PATCH", f"{NODES}/{self.name}", {"metadata": meta}, MERGE)
        await self.report()

    async def report(self) -> None:
        """The node status, heartbeats included."""
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "addresses": [
                {"type": "InternalIP", "address": self.ip},
                {"type": "Hostname", "address": self.name},
            ],
            "conditions": self._conditions(rfc3339(time.time())),
            "nodeInfo": _node_info(self.name),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": logs.PORT}},
        }
        await self._kube.call("PATCH", f"{NODES}/{self.name}/status", {"status": status}, STRATEGIC)

    def _conditions(self, now: str) -> list[Json]:
        disk = (
            ("True", "KubeletHasDiskPressure", "kubelet has disk pressure")
            if self.disk_full
            else ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
        )
        rows = [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
            ("DiskPressure", *disk),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "enough process ids"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]
        return [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, status, reason, message in rows
        ]

    async def renew_lease(self) -> None:
        now = (
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            + f".{time.time_ns() // 1000 % 10**6:06d}Z"
        )
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": now}
        try:
            await self._kube.call("PATCH", f"{LEASES}/{self.name}", {"spec": spec}, MERGE)
        except ApiStatusError as exc:
            if exc.code != 404:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name},
                "spec": spec,
            }
            await self._kube.call("POST", LEASES, lease)

    async def heartbeat(self, every: float) -> None:
        """Lease each `every` seconds, full status each fifth time, for ever."""
        tick = 0
        while True:
            await self.up.wait()
            with contextlib.suppress(ApiStatusError, httpx.HTTPError):
                await self.renew_lease()
                if tick % 5 == 0:
                    await self.report()
                tick += 1
            await asyncio.sleep(every)


def _node_info(name: str) -> Json:
    return {
        "machineID": name,
        "systemUUID": name,
        "bootID": name,
        "kernelVersion": "sandbox",
        "osImage": "sandbox",
        "containerRuntimeVersion": "sandbox://1",
        "kubeletVersion": "v1.36.3",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
