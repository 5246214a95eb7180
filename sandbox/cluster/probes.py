"""Startup, readiness and liveness probes with the kubelet's rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["Startup", "Readiness", "Liveness"]
LIMIT = 10 * 1024  # the kubelet reads at most this much of an answer


@dataclass(frozen=True)
class Probe:
    kind: Kind
    host: str
    port: int
    path: str | None  # None: tcpSocket
    headers: tuple[tuple[str, str], ...]
    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int
    grace: int | None  # terminationGracePeriodSeconds of this probe

    @classmethod
    def parse(
        cls, kind: Kind, spec: dict[str, Any] | None, container: dict[str, Any], ip: str
    ) -> Probe | None:
        """None without a probe; ValueError for a kind that the sandbox cannot run."""
        if not spec:
            return None
        action = spec.get("httpGet") or spec.get("tcpSocket")
        if action is None:
            raise ValueError(f"{kind} probe: only httpGet and tcpSocket work in the sandbox")
        if action.get("scheme", "HTTP") != "HTTP":
            raise ValueError(f"{kind} probe: scheme {action['scheme']} is not supported")
        headers = tuple((h["name"], h["value"]) for h in action.get("httpHeaders") or [])
        return cls(
            kind,
            action.get("host") or ip,
            _port(action["port"], container),
            action.get("path", "/") if "httpGet" in spec else None,
            headers,
            spec.get("initialDelaySeconds") or 0,
            spec.get("periodSeconds") or 10,
            spec.get("timeoutSeconds") or 1,
            spec.get("successThreshold") or 1,
            spec.get("failureThreshold") or 3,
            spec.get("terminationGracePeriodSeconds"),
        )

    async def once(self) -> str | None:
        """None when it succeeds, else what the kubelet would say."""
        url = f"http://{self.host}:{self.port}{self.path or ''}"
        try:
            async with asyncio.timeout(self.timeout):
                return await self._ask(url)
        except TimeoutError:
            if self.path is None:
                return f"dial tcp {self.host}:{self.port}: i/o timeout"
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return f'Get "{url}": {why}'
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower() if exc.errno else "connection refused"
            what = f"dial tcp {self.host}:{self.port}: connect: {reason}"
            return what if self.path is None else f'Get "{url}": {what}'

    async def _ask(self, url: str) -> str | None:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=LIMIT)
        try:
            if self.path is None:
                return None
            lines = {
                "Host": f"{self.host}:{self.port}",
                "User-Agent": "kube-probe/1.36",
                "Accept": "*/*",
            }
            lines |= dict(self.headers)
            head = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
            writer.write(f"GET {self.path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
            status = await reader.readline()
            parts = status.split(b" ", 2)
            if len(parts) < 2 or not parts[1].isdigit():
                return f'Get "{url}": EOF'
            code = int(parts[1])
            return None if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def run(
        self,
        on_change: Callable[[bool], Awaitable[bool]],
        on_failure: Callable[[str], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Probe for ever; call on_change(result) when a threshold is reached.

        on_change returns False to stop.  It is called again for each further result
        beyond the threshold, so it must be idempotent.  While wanted() is false the
        probe rests (liveness of a pod that is being stopped).
        """
        if self.initial_delay:
            await asyncio.sleep(self.initial_delay)
        good = bad = 0
        while True:
            if wanted():
                error = await self.once()
                good, bad = (good + 1, 0) if error is None else (0, bad + 1)
                if error is not None:
                    on_failure(f"{self.kind} probe failed: {error}")
                if good >= self.successes and not await on_change(True):
                    return
                if bad >= self.failures and not await on_change(False):
                    return
            await asyncio.sleep(self.period)


def _port(port: int | str, container: dict[str, Any]) -> int:
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"probe port {port} is not declared by the container")
