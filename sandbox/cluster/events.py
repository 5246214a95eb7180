"""Events on pods, counted like the kubelet's when they repeat."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import httpx

from sandbox.cluster.kube import MERGE, ApiStatusError, AsyncKube
from sandbox.cluster.podstatus import rfc3339

Json = dict[str, Any]
KEEP = 4096  # remembered for counting


class Events:
    """Best effort: a full queue or an error drops an event, never the caller."""

    def __init__(self, kube: AsyncKube) -> None:
        self._kube = kube
        self._queue: asyncio.Queue[tuple[Json, tuple[str, ...]]] = asyncio.Queue(1000)
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}

    def post(
        self, pod: Json, node: str, kind: str, reason: str, message: str, container: str | None
    ) -> None:
        meta = pod["metadata"]
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if container:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        now = rfc3339(time.time())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{os.urandom(8).hex()}",
                "namespace": meta["namespace"],
            },
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": node},
            "reportingComponent": "kubelet",
            "reportingInstance": node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._queue.put_nowait((event, (meta["uid"], container or "", reason, message)))
        except asyncio.QueueFull:
            return

    async def run(self) -> None:
        while True:
            event, key = await self._queue.get()
            try:
                await self._write(event, key)
            except (ApiStatusError, httpx.HTTPError):
                continue

    async def _write(self, event: Json, key: tuple[str, ...]) -> None:
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        known = self._seen.get(key)
        if known is not None:
            name, count = known
            patch = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._kube.call("PATCH", f"{path}/{name}", patch, MERGE)
                self._seen[key] = (name, count + 1)
                return
            except ApiStatusError as exc:
                if exc.code != 404:  # it has expired: write a new one
                    raise
        await self._kube.call("POST", path, event)
        if len(self._seen) >= KEEP:
            self._seen.pop(next(iter(self._seen)))
        self._seen[key] = (event["metadata"]["name"], 1)
