"""A minimal Kubernetes API client: JSON in, JSON out, on httpx.

Why not the `kubernetes` package here: the sandbox needs six verbs on raw JSON, a
watch that can be cancelled, and asyncio.  The package's typed models drop fields
they do not know, its import alone is 45 to 56 MB of resident memory (httpx: 24),
and its watch must be wrapped anyway to handle 410 and dead connections.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT = httpx.Timeout(10.0, connect=3.0)


class ApiStatusError(Exception):
    """The API server answered with an error status."""

    def __init__(self, code: int, body: str, what: str) -> None:
        try:
            parsed = json.loads(body)
            self.reason, self.text = str(parsed.get("reason", "")), str(parsed.get("message", ""))
        except (ValueError, AttributeError):
            self.reason, self.text = "", body[:500]
        super().__init__(f"{what}: {code} {self.reason} {self.text}")
        self.code = code


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to authenticate, from a kubeconfig (JSON)."""

    server: str
    ca: str  # PEM
    cert: str | None = None
    key: str | None = None
    token: str | None = None

    @classmethod
    def load(cls, path: Path) -> Access:
        config = json.loads(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        return cls(
            cluster["server"],
            base64.b64decode(cluster["certificate-authority-data"]).decode(),
            user.get("client-certificate"),
            user.get("client-key"),
            user.get("token"),
        )

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


def _checked(response: httpx.Response, what: str) -> Json:
    if response.status_code >= 400:
        raise ApiStatusError(response.status_code, response.text, what)
    result: Json = response.json() if response.content else {}
    return result


class Kube:
    """Blocking client, for set-up scripts and checks."""

    def __init__(self, access: Access) -> None:
        self._http = httpx.Client(
            base_url=access.server,
            verify=access.tls(),
            headers=access.headers(),
            timeout=TIMEOUT,
            trust_env=False,
        )

    def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
        **params: str,
    ) -> Json:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": content_type}
        response = self._http.request(method, path, content=content, headers=headers, params=params)
        return _checked(response, f"{method} {path}")

    def get(self, path: str, **params: str) -> Json:
        return self.call("GET", path, None, **params)

    def post(self, path: str, body: Json, **params: str) -> Json:
        return self.call("POST", path, body, **params)

    def patch(self, path: str, body: Json, content_type: str = MERGE, **params: str) -> Json:
        return self.call("PATCH", path, body, content_type, **params)

    def delete(self, path: str, body: Json | None = None, **params: str) -> Json:
        return self.call("DELETE", path, body, **params)

    def apply(self, path: str, body: Json, manager: str = "sandbox") -> Json:
        """Server-side apply with force: for objects that the sandbox owns."""
        return self.patch(path, body, APPLY, fieldManager=manager, force="true")

    def close(self) -> None:
        self._http.close()


class AsyncKube:
    """The same for asyncio, plus list+watch."""

    def __init__(self, access: Access) -> None:
        self._http = httpx.AsyncClient(
            base_url=access.server,
            verify=access.tls(),
            headers=access.headers(),
            timeout=TIMEOUT,
            trust_env=False,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
        )

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
        **params: str,
    ) -> Json:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": content_type}
        response = await self._http.request(
            method, path, content=content, headers=headers, params=params
        )
        return _checked(response, f"{method} {path}")

    async def list_all(self, path: str, **params: str) -> tuple[str, list[Json]]:
        """Every item (in pages) and the resourceVersion to watch from."""
        items: list[Json] = []
        token = ""
        while True:
            query = {"limit": "500", **params, **({"continue": token} if token else {})}
            page = await self.call("GET", path, None, **query)
            items += page.get("items") or []
            token = page["metadata"].get("continue", "")
            if not token:
                return page["metadata"]["resourceVersion"], items

    async def _events(self, path: str, version: str, **params: str) -> AsyncIterator[Json]:
        """One watch connection; ends when the server closes it."""
        seconds = int(240 + random.random() * 60)
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            "resourceVersion": version,
        }
        # Bookmarks come about once a minute: a silence of 90 s is a dead connection.
        timeout = httpx.Timeout(90.0, connect=3.0)
        async with self._http.stream(
            "GET", path, params={**query, **params}, timeout=timeout
        ) as response:
            if response.status_code >= 400:
                await response.aread()
                raise ApiStatusError(response.status_code, response.text, f"WATCH {path}")
            async for line in response.aiter_lines():
                if line:
                    yield json.loads(line)

    async def follow(
        self,
        path: str,
        on_list: Callable[[list[Json]], None],
        on_event: Callable[[str, Json], None],
        **params: str,
    ) -> None:
        """List, then watch, for ever; list again after 410 Gone or any failure."""
        delay = 0.2
        while True:
            try:
                version, items = await self.list_all(path, **params)
                on_list(items)
                delay = 0.2
                while True:  # a clean end of the stream goes on from the last version
                    async for event in self._events(path, version, **params):
                        kind, obj = event["type"], event["object"]
                        if kind == "ERROR":
                            raise ApiStatusError(
                                int(obj.get("code", 500)), json.dumps(obj), "watch event"
                            )
                        version = obj["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            on_event(kind, obj)
            except (httpx.HTTPError, ApiStatusError, json.JSONDecodeError) as exc:
                if not (isinstance(exc, ApiStatusError) and exc.code == 410):
                    await asyncio.sleep(delay * (0.5 + random.random()))
                    delay = min(delay * 2, 10.0)

    async def close(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await self._http.aclose()
