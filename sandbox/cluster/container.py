"""One container of a pod: pull, start, restart with back-off, stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.cluster import images
from sandbox.cluster.attempt import Attempt
from sandbox.cluster.kube import Json
from sandbox.cluster.podstatus import rfc3339
from sandbox.cluster.probing import Probing
from sandbox.cluster.termination import log_tail

if TYPE_CHECKING:
    from sandbox.cluster.pod import PodWorker

MIN_GRACE = 2.0  # the kubelet's minimum between SIGTERM and SIGKILL
BACKOFF_RESET = 600.0  # a container that ran this long starts with a fresh back-off


class Backoff:
    """The kubelet's: the first retry is immediate, then base, 2*base ... up to a maximum."""

    def __init__(self, base: float, maximum: float) -> None:
        self.base, self.maximum = base, maximum
        self.delay = 0.0

    def next(self) -> float:
        delay, self.delay = self.delay, min(self.maximum, self.delay * 2 or self.base)
        return delay


@dataclass(frozen=True)
class Settings:
    """Back-off of crashes and of pulls, in seconds."""

    backoff: float = 10.0
    backoff_max: float = 300.0


class Container:
    """Status fields are read by podstatus; run() is the life of the container."""

    def __init__(self, pod: PodWorker, spec: Json) -> None:
        self.pod, self.spec = pod, spec
        self.name: str = spec["name"]
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self.restarts = 0
        self.ready = False
        self.started = False
        self.image_id = ""
        self.container_id = ""
        self.done = False  # terminated for good
        self.attempt: Attempt | None = None
        self._exit_override: tuple[str, int] | None = None  # injected reason and code
        self._dies_of = ""
        self._crash = Backoff(pod.settings.backoff, pod.settings.backoff_max)
        self._dir = pod.dir / "containers" / self.name

    # -- life -----------------------------------------------------------------
    async def run(self) -> None:
        self._adopt()
        while not self.pod.terminating:
            if self.attempt is None:
                await self.pod.node.up.wait()
                if not await self._start():
                    return  # a configuration error: only a new pod can heal it
            attempt = self.attempt
            if attempt is None:
                return
            result = await self._watch(attempt)
            self._terminated(attempt, result)
            policy = self.pod.spec.get("restartPolicy", "Always")
            again = policy == "Always" or (policy == "OnFailure" and result["code"] != 0)
            if not again or self.pod.terminating:
                self.done = not again
                self.pod.publish()
                return
            await self._back_off(time.time() - attempt.meta["started"])

    async def _watch(self, attempt: Attempt) -> Json:
        """Probe until the process ends."""
        probing = asyncio.create_task(Probing(self).run())
        try:
            return await attempt.wait()
        finally:
            probing.cancel()

    def _adopt(self) -> None:
        """Continue with what an earlier agent left behind."""
        numbers = sorted((int(p.name) for p in self._dir.glob("[0-9]*")), reverse=True)
        if not numbers:
            return
        self.restarts = numbers[0]
        attempt = Attempt.adopt(self._dir / str(numbers[0]))
        before = self.pod.reported(self.name)
        self.last_state = before.get("lastState") or {}
        if attempt is None:  # crashed between mkdir and meta: nothing can be running
            self.restarts += 1
            return
        self.attempt = attempt
        self.container_id = attempt.meta["container_id"]
        with contextlib.suppress(images.PullError, images.InvalidImage):
            resolved = self.pod.images.resolve(self.spec["image"])
            self.image_id, self._dies_of = resolved.image_id, resolved.image.dies_of
        same = before.get("containerID") == self.container_id
        self.ready = same and bool(before.get("ready"))
        self.started = same and bool(before.get("started"))
        self.state = {"running": {"startedAt": rfc3339(attempt.meta["started"])}}

    async def _start(self) -> bool:
        problem = self.pod.unsupported(self.spec)
        if problem:
            self._wait_state("CreateContainerConfigError", problem)
            self.pod.event("Warning", "Failed", f"Error: {problem}", self.name)
            return False
        resolved = await self._pull()
        pod, ip = self.pod, self.pod.ip
        argv = resolved.image.argv(pod.arguments(self.spec), ip)
        if self.spec.get("command") == ["true"]:
            argv = [sys.executable, "-I", "-S", "-c", ""]
        elif self.spec.get("command", [])[:1] == ["python3"]:
            python = resolved.image.interpreter()
            argv = [python, *self.spec["command"][1:], *pod.arguments(self.spec)]
        env = pod.base_environment() | resolved.image.environment(ip) | pod.environment(self.spec)
        pod.event("Normal", "Created", f"Container created: {self.name}", self.name)
        self.attempt = Attempt.launch(
            self._dir / str(self.restarts), argv, env, self._log(), pod.owner_pid
        )
        self.container_id = self.attempt.meta["container_id"]
        self.image_id = resolved.image_id
        self._dies_of = resolved.image.dies_of
        self.ready, self.started = False, False
        self.state = {"running": {"startedAt": rfc3339(self.attempt.meta["started"])}}
        pod.event("Normal", "Started", f"Container started: {self.name}", self.name)
        pod.publish()
        return True

    def _log(self) -> Path:
        return self.pod.log_path(self.name, self.restarts)

    async def _pull(self) -> images.Resolved:
        """Resolve the image; stays here, in back-off, while that fails."""
        image = self.spec["image"]
        backoff = Backoff(self.pod.settings.backoff, self.pod.settings.backoff_max)
        backoff.next()  # a failed pull is not retried at once
        while True:
            try:
                return await self._pull_once(image)
            except images.InvalidImage as exc:
                self._wait_state("InvalidImageName", str(exc))
                text = f"Failed to apply default image tag: {exc}"
                self.pod.event("Warning", "InspectFailed", text, self.name)
                await asyncio.sleep(self.pod.settings.backoff_max)
            except images.PullError as exc:
                await self._pull_failed(image, exc, backoff.next())

    async def _pull_once(self, image: str) -> images.Resolved:
        resolved, node = self.pod.images.resolve(image), self.pod.node
        text = f'Container image "{image}" already present on machine'
        if resolved.image_id not in node.cached:
            self.pod.event("Normal", "Pulling", f'Pulling image "{image}"', self.name)
            await asyncio.sleep(max(resolved.image.pull_seconds, self.pod.images.pull_delay))
            node.cached.add(resolved.image_id)
            text = f'Successfully pulled image "{image}"'
        self.pod.event("Normal", "Pulled", text, self.name)
        return resolved

    async def _pull_failed(self, image: str, exc: images.PullError, delay: float) -> None:
        self.pod.event("Warning", "Failed", f'Failed to pull image "{image}": {exc}', self.name)
        self.pod.event("Warning", "Failed", "Error: ErrImagePull", self.name)
        self._wait_state("ErrImagePull", str(exc))
        await asyncio.sleep(min(1.0, delay / 2))
        text = f'Back-off pulling image "{image}"'
        self.pod.event("Normal", "BackOff", text, self.name)
        self.pod.event("Warning", "Failed", "Error: ImagePullBackOff", self.name)
        self._wait_state("ImagePullBackOff", f"{text}: ErrImagePull: {exc}")
        await asyncio.sleep(delay)

    def _wait_state(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.pod.publish()

    def _terminated(self, attempt: Attempt, result: Json) -> None:
        reason, code = self._why(result)
        ended: Json = {
            "exitCode": code,
            "reason": reason,
            "startedAt": rfc3339(attempt.meta["started"]),
            "finishedAt": rfc3339(result["finished"]),
            "containerID": self.container_id,
        }
        if result.get("signal") and reason == "Error":
            ended["signal"] = result["signal"]
        if code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = log_tail(self._log())
        self.state = {"terminated": ended}
        self.ready, self.started = False, False
        self.attempt = None
        self.pod.publish()

    def _why(self, result: Json) -> tuple[str, int]:
        """Reason and exit code as the container runtime would tell them."""
        override, self._exit_override = self._exit_override, None
        code = int(result["code"])
        if override is not None:
            return override
        if result.get("unknown"):
            return "ContainerStatusUnknown", code
        if code != 0 and self._dies_of == "OOMKilled":  # memory limits are not enforced here
            return "OOMKilled", 137
        return ("Completed" if code == 0 else "Error"), code

    async def _back_off(self, ran: float) -> None:
        if ran >= BACKOFF_RESET:
            self._crash = Backoff(self.pod.settings.backoff, self.pod.settings.backoff_max)
        delay = self._crash.next()
        self.last_state = self.state
        if delay:
            namespace, _, name = self.pod.key.partition("/")
            pod = f"{name}_{namespace}({self.pod.uid})"
            text = f"Back-off restarting failed container {self.name} in pod {pod}"
            self.pod.event("Warning", "BackOff", text, self.name)
            message = (
                f"back-off {_go_duration(delay)} restarting failed container={self.name} pod={pod}"
            )
            self._wait_state("CrashLoopBackOff", message)
            await asyncio.sleep(delay)
        self.restarts += 1  # counted when the restart happens, not when it is planned

    # -- stop -------------------------------------------------------------------
    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM, SIGKILL; preStop time counts against the grace period."""
        attempt = self.attempt
        if attempt is None or not attempt.running:
            return
        deadline = time.monotonic() + grace
        sleep = (((self.spec.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}).get(
            "seconds", 0
        )
        ended = asyncio.create_task(attempt.wait())
        try:
            await asyncio.wait({ended}, timeout=min(float(sleep), grace))
            attempt.signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=max(MIN_GRACE, deadline - time.monotonic()))
            attempt.signal(signal.SIGKILL, group=True)
            await ended
        finally:
            ended.cancel()

    def set_ready(self, ready: bool, *, started: bool) -> None:
        if (ready, started) != (self.ready, self.started):
            self.ready, self.started = ready, started
            self.pod.publish()

    def inject(self, reason: str, code: int, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process and report the given reason (OOMKilled, Error...)."""
        self._exit_override = (reason, code)
        if self.attempt is not None:
            self.attempt.signal(sig, group=True)


def _go_duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
