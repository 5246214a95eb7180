"""One pod on one fake node: its containers, its status in the API, its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.cluster import names, storage
from sandbox.cluster.container import Container
from sandbox.cluster.images import runs_script
from sandbox.cluster.kube import STRATEGIC, ApiStatusError, Json
from sandbox.cluster.podstatus import differs, final_phase, phase, pod_status
from sandbox.cluster.probes import Probe

if TYPE_CHECKING:
    from sandbox.cluster.agent import Agent
    from sandbox.cluster.node import Node


class PodWorker:
    def __init__(self, agent: Agent, node: Node, pod: Json) -> None:
        self.agent, self.node, self.pod = agent, node, pod
        self.uid: str = pod["metadata"]["uid"]
        self.key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self.settings, self.images, self.owner_pid = agent.settings, agent.images, agent.owner_pid
        self.dir = agent.state / "pods" / self.uid
        self.ip: str
        self.began: float
        self.ip, self.began = self._record()
        self.terminating = False
        self.gone = False  # the object is deleted
        self.containers = [Container(self, spec) for spec in self.spec["containers"]]
        self._dirty = asyncio.Event()
        self._final: str | None = None  # phase while or after being deleted
        self._evicted = ""  # why
        self._background: set[asyncio.Task[Any]] = set()
        self._runs = [asyncio.create_task(self._guard(c)) for c in self.containers]
        self._status_task = asyncio.create_task(self._status_loop())
        self._ending: asyncio.Task[None] | None = None
        self.publish()

    @property
    def spec(self) -> Json:
        spec: Json = self.pod["spec"]
        return spec

    def _record(self) -> tuple[str, float]:
        """The pod's address and start; kept on disk for the next agent."""
        path = self.dir / "pod"
        if path.exists():
            known = json.loads(path.read_text())
            return known["ip"], known["began"]
        ip, began = self.agent.addresses.take(), time.time()
        self.dir.mkdir(parents=True, exist_ok=True)
        tmp = self.dir / ".pod"
        tmp.write_text(
            json.dumps({"ip": ip, "began": began, "key": self.key, "node": self.node.name})
        )
        tmp.rename(path)
        if name := self._host():
            names.write(self.agent.state, name, ip)
        return ip, began

    def _host(self) -> str:
        """What the cluster's DNS would resolve; empty: nothing asks for this pod by a name."""
        host, service = self.spec.get("hostname"), self.spec.get("subdomain")
        return f"{host}.{service}" if host and service else ""

    async def _guard(self, container: Container) -> None:
        """A bug in one container must not stop the agent in silence."""
        try:
            await container.run()
        except Exception as exc:  # noqa: BLE001 - the supervisor loop of this process
            print(
                f"{self.key}/{container.name}: {type(exc).__name__}: {exc}",
                file=sys.stderr,
                flush=True,
            )
            container.state = {"waiting": {"reason": "CreateContainerError", "message": str(exc)}}
            self.event("Warning", "Failed", f"Error: {exc}", container.name)
            self.publish()

    # -- what containers ask ----------------------------------------------------
    def publish(self) -> None:
        self._dirty.set()

    def background(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def event(self, kind: str, reason: str, message: str, container: str | None = None) -> None:
        self.agent.events.post(self.pod, self.node.name, kind, reason, message, container)

    def reported(self, container: str) -> Json:
        """What the API server knows about a container."""
        for status in self.pod.get("status", {}).get("containerStatuses") or []:
            if status["name"] == container:
                found: Json = status
                return found
        return {}

    def log_path(self, container: str, attempt: int) -> Path:
        namespace, _, name = self.key.partition("/")
        return (
            self.agent.state
            / "logs"
            / f"{namespace}_{name}_{self.uid}"
            / container
            / f"{attempt}.log"
        )

    def unsupported(self, spec: Json) -> str | None:
        """What a kubelet could do and the sandbox cannot: refuse it, do not pretend."""
        refusals = (
            (self.spec.get("initContainers"), "the sandbox does not run initContainers"),
            # The entry point of vLLM's own image may be repeated; it names no other program, and
            # what only pulls an image runs nothing.
            (
                spec.get("command") not in (None, [], ["vllm", "serve"], NO_OP)
                and not runs_script(spec["command"]),
                "the sandbox does not run a container's own command, only its args",
            ),
            (spec.get("envFrom"), "the sandbox does not support envFrom"),
            (_other_hooks(spec), "the sandbox supports only preStop.sleep"),
        )
        for refused, why in refusals:
            if refused:
                return why
        return self._unsupported_env(spec) or self._unsupported_probe(spec)

    @staticmethod
    def _unsupported_env(spec: Json) -> str | None:
        for env in spec.get("env") or []:
            source = env.get("valueFrom")
            path = (source.get("fieldRef") or {}).get("fieldPath", "") if source else ""
            if source and path not in FIELDS and not LABEL.fullmatch(path):
                return f"the sandbox cannot resolve valueFrom of env {env['name']}"
        return None

    def _unsupported_probe(self, spec: Json) -> str | None:
        try:
            Probe.parse("Startup", spec.get("startupProbe"), spec, self.ip)
            Probe.parse("Readiness", spec.get("readinessProbe"), spec, self.ip)
            Probe.parse("Liveness", spec.get("livenessProbe"), spec, self.ip)
        except ValueError as exc:
            return str(exc)
        return None

    def base_environment(self) -> dict[str, str]:
        """Nothing of the agent's own environment but what a program needs to start."""
        env = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ}
        env["HOSTNAME"] = self.pod["metadata"]["name"]
        env["PYTHONUNBUFFERED"] = "1"
        env["SANDBOX_NAMES"] = str(names.folder(self.agent.state))
        return env

    def environment(self, spec: Json) -> dict[str, str]:
        """What the pod's manifest sets. $(NAME) in a value is a variable from further up."""
        env: dict[str, str] = {}
        for item in spec.get("env") or []:
            source = item.get("valueFrom")
            path = source["fieldRef"]["fieldPath"] if source else ""
            value = self._field(path) if source else _expanded(str(item.get("value", "")), env)
            env[item["name"]] = value
        return storage.placed(env, self.mounts(spec))

    def mounts(self, spec: Json) -> dict[str, str]:
        """Where directories of the node and claims lie on this machine, by mount path."""
        namespace = self.key.partition("/")[0]
        return storage.mounts(self.agent.state, self.node.name, namespace, self.spec, spec)

    def _field(self, path: str) -> str:
        if label := LABEL.fullmatch(path):
            return str((self.pod["metadata"].get("labels") or {}).get(label[1], ""))
        return FIELDS[path](self)

    def arguments(self, spec: Json) -> list[str]:
        """$(NAME) in args is replaced by the variable, $$ by $ (as the kubelet does)."""
        env = self.base_environment() | self.environment(spec)
        return [_expanded(arg, env) for arg in spec.get("args") or []]

    # -- what the agent tells -----------------------------------------------------
    def update(self, pod: Json) -> None:
        """A newer object from the watch."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp") and self._ending is None:
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            self._ending = asyncio.create_task(self._end(float(30 if grace is None else grace)))
        self.publish()

    def removed(self) -> None:
        """The object is gone (force delete, or our own delete)."""
        self.gone = True
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(2.0))

    def evict(self, why: str) -> None:
        """The kubelet takes it off its node; the object stays, with the reason."""
        self.event("Warning", "Evicted", why)
        self.terminating = True
        self.background(self._evict(why))

    async def _evict(self, why: str) -> None:
        await asyncio.gather(*(c.stop(2.0) for c in self.containers))
        self._final, self._evicted = "Failed", why
        self.publish()

    async def _end(self, grace: float) -> None:
        self.terminating = True
        for c in self.containers:
            if c.attempt is not None and c.attempt.running:
                self.event("Normal", "Killing", f"Stopping container {c.name}", c.name)
        self.publish()
        await asyncio.gather(*(c.stop(grace) for c in self.containers))
        for run, container in zip(self._runs, self.containers, strict=True):
            if container.attempt is None:  # waits for an image or in back-off
                run.cancel()
        await asyncio.wait(self._runs, timeout=5)
        self._final = final_phase(self.containers)
        self.publish()
        while not self.gone:
            await self.node.up.wait()
            if await self._delete_object():
                break
            await asyncio.sleep(1)
        self._finish()

    async def _delete_object(self) -> bool:
        """Tell the final state, then let the object go; True when it is gone."""
        try:
            await self._patch()
            namespace, _, name = self.key.partition("/")
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            await self.agent.kube.call(
                "DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body
            )
        except ApiStatusError as exc:
            return exc.code in (404, 409)
        except httpx.HTTPError:
            return False
        return True

    def _finish(self) -> None:
        for task in [*self._runs, self._status_task, *self._background]:
            task.cancel()
        if name := self._host():
            names.forget(self.agent.state, name, self.ip)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.agent.addresses.give_back(self.ip)
        self.agent.forget(self)

    def power_off(self) -> None:
        """The node lost power: processes vanish; the status stays as it was."""
        for c in self.containers:
            if c.attempt is not None:
                c.inject("Unknown", 255)

    def abandon(self) -> None:
        """The agent exits: stop working, leave the processes alone."""
        for task in [
            *self._runs,
            self._status_task,
            *self._background,
            *([self._ending] if self._ending else []),
        ]:
            task.cancel()

    # -- status ---------------------------------------------------------------------
    async def _status_loop(self) -> None:
        delay = 0.2
        while True:
            await self._dirty.wait()
            await self.node.up.wait()
            self._dirty.clear()
            try:
                await self._patch()
                delay = 0.2
            except (ApiStatusError, httpx.HTTPError) as exc:
                if isinstance(exc, ApiStatusError) and exc.code in (404, 409):
                    continue  # deleted or replaced: the watch tells
                self._dirty.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10)

    async def _patch(self) -> None:
        """Write the status if the server's differs from ours."""
        now = time.time()
        at = self._final or phase(self.containers, self.spec.get("restartPolicy", "Always"))
        want = pod_status(self.pod, self.containers, at, self.ip, self.node.ip, self.began, now)
        if self._evicted:
            want |= {"reason": "Evicted", "message": self._evicted}
        if not differs(want, self.pod.get("status", {})):
            return
        namespace, _, name = self.key.partition("/")
        body = {"metadata": {"uid": self.uid}, "status": want}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        self.pod = await self.agent.kube.call("PATCH", path, body, STRATEGIC)
        if self.uid in self.agent.latest:  # newer than what the watch has told so far
            self.agent.latest[self.uid] = self.pod


def _expanded(text: str, env: dict[str, str]) -> str:
    text = text.replace("$$", "\0")
    for name, value in env.items():
        text = text.replace(f"$({name})", value)
    return text.replace("\0", "$")


def _other_hooks(spec: Json) -> bool:
    lifecycle = spec.get("lifecycle") or {}
    return bool(lifecycle.get("postStart") or set(lifecycle.get("preStop") or {}) - {"sleep"})


NO_OP = ["true"]  # of a pod that only brings an image to its node
LABEL = re.compile(r"metadata\.labels\['(.+)'\]")
FIELDS: dict[str, Callable[[PodWorker], str]] = {  # downward API
    "metadata.name": lambda p: p.pod["metadata"]["name"],
    "metadata.namespace": lambda p: p.pod["metadata"]["namespace"],
    "metadata.uid": lambda p: p.uid,
    "spec.nodeName": lambda p: p.node.name,
    "status.podIP": lambda p: p.ip,
    "status.hostIP": lambda p: p.node.ip,
}
