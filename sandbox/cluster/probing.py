"""The three probes of one run of a container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.cluster.probes import Kind, Probe

if TYPE_CHECKING:
    from sandbox.cluster.container import Container


class Probing:
    """Startup first; then readiness and liveness side by side until the process ends."""

    def __init__(self, container: Container) -> None:
        self.container, self.pod = container, container.pod

    async def run(self) -> None:
        container = self.container
        startup, readiness = self._parse("Startup"), self._parse("Readiness")
        liveness = self._parse("Liveness")
        if startup and not container.started and not await self._starts(startup):
            self._kill(startup)
            return
        container.set_ready(container.ready or readiness is None, started=True)
        async with asyncio.TaskGroup() as group:
            if readiness:  # goes on while the pod is being stopped, as in the kubelet
                group.create_task(readiness.run(self._on_ready, self._failed))
            if liveness:
                group.create_task(self._watch(liveness))

    def _parse(self, kind: Kind) -> Probe | None:
        spec = self.container.spec
        return Probe.parse(kind, spec.get(f"{kind.lower()}Probe"), spec, self.pod.ip)

    async def _starts(self, probe: Probe) -> bool:
        verdict: list[bool] = []

        async def first(ok: bool) -> bool:
            verdict.append(ok)
            return False

        await probe.run(first, self._failed, self._wanted)
        return verdict[0]

    async def _watch(self, liveness: Probe) -> None:
        async def on_live(ok: bool) -> bool:
            if not ok:
                self._kill(liveness)
            return ok

        await liveness.run(on_live, self._failed, self._wanted)

    async def _on_ready(self, ok: bool) -> bool:
        self.container.set_ready(ok, started=self.container.started)
        return True

    def _wanted(self) -> bool:
        return not self.pod.terminating

    def _failed(self, text: str) -> None:
        self.pod.event("Warning", "Unhealthy", text, self.container.name)

    def _kill(self, probe: Probe) -> None:
        name = self.container.name
        text = f"Container {name} failed {probe.kind.lower()} probe, will be restarted"
        self.pod.event("Normal", "Killing", text, name)
        default = self.pod.spec.get("terminationGracePeriodSeconds", 30)
        grace = float(default if probe.grace is None else probe.grace)
        # In a task of its own: the exit of the process cancels the probes.
        self.pod.background(self.container.stop(grace))
