"""Fault injection into the node agent, over a Unix socket.

One JSON object per line, one answer per line:

    {"op": "state"}                                     nodes; pods: addresses, labels, processes
    {"op": "oom", "pod": "NS/NAME"}                     kill, report OOMKilled
    {"op": "kill", "pod": "NS/NAME", "code": 1}         kill, report Error with this code
    {"op": "evict", "pod": "NS/NAME", "why": "..."}     as a kubelet under pressure does
    {"op": "freeze" | "thaw", "pod": "NS/NAME"}         SIGSTOP / SIGCONT of all processes
    {"op": "node_down", "node": N, "power_off": false}  silence a node (true: processes vanish)
    {"op": "node_up", "node": N}
    {"op": "disk_full" | "disk_free", "node": N}        DiskPressure: no new pods
    {"op": "deny" | "allow", "image": DIGEST_OR_REF}    further pulls fail / work again
    {"op": "slow_pull", "seconds": 30}                  every pull takes at least that long

"container" may name one container of a pod; the default is the first.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.cluster.kube import ApiStatusError, Json

if TYPE_CHECKING:
    from sandbox.cluster.agent import Agent
    from sandbox.cluster.container import Container


class Admin:
    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # Socket paths are limited to about 108 bytes: go through the directory.
        self._server = await asyncio.start_unix_server(self._serve, _short(path))
        path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = await self.handle(json.loads(line))
                except (LookupError, ValueError, TypeError, ApiStatusError) as exc:
                    answer = {"error": f"{type(exc).__name__}: {exc}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def handle(self, request: Json) -> Json:
        """Answer one request; KeyError or ValueError for what does not exist."""
        op = request["op"]
        if op == "state":
            return self._state()
        if op in ("oom", "kill", "freeze", "thaw"):
            self._on_container(op, self._find(request), request)
        elif op == "evict":
            self._find(request).pod.evict(request["why"])
        elif op in ("deny", "allow", "slow_pull"):
            self._on_images(op, request)
        elif op in ("node_down", "node_up", "disk_full", "disk_free"):
            await self._on_node(op, request)
        else:
            raise ValueError(f"unknown op {op}")
        return {"ok": True}

    def _on_images(self, op: str, request: Json) -> None:
        table = self.agent.images
        if op == "slow_pull":
            table.pull_delay = float(request["seconds"])
        else:
            table.set_denied(request["image"], denied=op == "deny")
        for node in self.agent.nodes.values():
            node.cached.clear()  # else a node that has the image never asks

    async def _on_node(self, op: str, request: Json) -> None:
        name = request["node"]
        if name not in self.agent.nodes:
            raise ValueError(f"no node {name}; there are {', '.join(self.agent.nodes)}")
        if op == "node_down":
            self.agent.node_down(name, power_off=bool(request.get("power_off")))
        elif op == "node_up":
            await self.agent.node_up(name)
        else:
            await self.agent.set_disk(name, full=op == "disk_full")

    @staticmethod
    def _on_container(op: str, container: Container, request: Json) -> None:
        if op == "oom":
            container.inject("OOMKilled", 137)
        elif op == "kill":
            container.inject("Error", int(request.get("code", 1)))
        elif container.attempt is not None:
            sig = signal.SIGSTOP if op == "freeze" else signal.SIGCONT
            container.attempt.signal(sig, group=True)

    def _find(self, request: Json) -> Container:
        for worker in self.agent.workers.values():
            if worker.key == request["pod"]:
                wanted = request.get("container", worker.containers[0].name)
                return next(c for c in worker.containers if c.name == wanted)
        raise ValueError(f"no pod {request['pod']}")

    def _state(self) -> Json:
        return {
            "nodes": {n.name: n.up.is_set() for n in self.agent.nodes.values()},
            "pods": {
                w.key: {
                    "node": w.node.name,
                    "ip": w.ip,
                    "labels": w.pod["metadata"].get("labels") or {},
                    "terminating": w.terminating,
                    "containers": {
                        c.name: {
                            "pid": c.attempt.pid() if c.attempt else None,
                            "shim": c.attempt.meta["shim"] if c.attempt else None,
                            "restarts": c.restarts,
                            "ready": c.ready,
                        }
                        for c in w.containers
                    },
                }
                for w in self.agent.workers.values()
            },
        }


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return min(str(path), relative, key=len)
