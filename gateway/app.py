"""The doors of the gateway: an ASGI application without a framework."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
import uuid_utils

from gateway import errors
from gateway.auth import Unusable, require_scope
from gateway.client import JSON_TYPE, Client, Receive, Send
from gateway.errors import Refusal
from gateway.normalise import CHAT, TEXT
from gateway.spool import SpoolError
from gateway.worker import Worker

MODELS = "/v1/models"
Door = Callable[[Client, dict[bytes, bytes]], Awaitable[None]]
TEXT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Gateway:
    """Routes requests; everything they need lives in the worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._doors: dict[str, Door] = {
            MODELS: self._models,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._worker.start()
        except SpoolError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._worker.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = Client(receive, send)
        names = [name for name, _ in scope["headers"]]
        if names.count(b"authorization") > 1:
            text = "Send one Authorization header: of several nobody knows which one counts."
            await _refuse(client, Refusal(400, "invalid_request", text))
        elif path in (CHAT, TEXT):
            if method == "POST":
                await self._worker.pipeline.serve(path, headers, client)
                return
            await self._wrong_method(client, "POST")
        elif (door := self._door(path)) is None:
            await _refuse(client, Refusal(404, "not_found", f"There is no {path} here."))
        elif method not in ("GET", "HEAD"):
            await self._wrong_method(client, "GET, HEAD")
        else:
            await door(client, headers)

    def _door(self, path: str) -> Door | None:
        if path.startswith(f"{MODELS}/"):
            return partial(self._models, only=path.removeprefix(f"{MODELS}/"))
        return self._doors.get(path)

    async def _wrong_method(self, client: Client, allowed: str) -> None:
        refusal = Refusal(405, "method_not_allowed", f"Use {allowed} here.", allowed=allowed)
        await _refuse(client, refusal)

    async def _models(self, client: Client, headers: dict[bytes, bytes], only: str = "") -> None:
        """What this credential was granted and the fleet serves: all of it, or one by its name."""
        try:
            context, routing = self._worker.pipeline.authenticate(headers)
            require_scope(context, "models")
        except Unusable as known:
            await _refuse(client, known.refusal)
            return
        except Refusal as refusal:
            await _refuse(client, refusal)
            return
        served = {**routing.adapters, **routing.document.services}
        models = [
            {
                "id": name,
                "object": "model",
                "created": int(routing.document.issued_at),
                "owned_by": "quartermaster",
                "parent": None if name == service.name else service.name,
                "max_model_len": service.max_model_len,
            }
            for name, service in sorted(served.items())
            if context.may_use(name)
        ]
        found: Any = {"object": "list", "data": models}
        if only:
            found = next((model for model in models if model["id"] == only), None)
        if found is None:
            await _refuse(client, errors.unknown_model(only))
            return
        await client.answer(200, orjson.dumps(found), [JSON_TYPE])

    async def _livez(self, client: Client, headers: dict[bytes, bytes]) -> None:
        await client.answer(200, b'{"state":"alive"}', [JSON_TYPE])

    async def _readyz(self, client: Client, headers: dict[bytes, bytes]) -> None:
        missing = self._worker.missing()
        state = {"state": "ready" if not missing else "not_ready", "missing": missing}
        await client.answer(200 if not missing else 503, orjson.dumps(state), [JSON_TYPE])

    async def _metrics(self, client: Client, headers: dict[bytes, bytes]) -> None:
        """For who watches the fleet: a tenant would see what all others do."""
        token = self._worker.settings.metrics_token.encode()
        given = headers.get(b"authorization", b"")
        if not token or not hmac.compare_digest(given, b"Bearer " + token):
            await _refuse(client, Refusal(404, "not_found", "There is no /metrics here."))
            return
        text = self._worker.counters.text(self._worker.gauges(time.time()))
        await client.answer(200, text, [TEXT_TYPE])


async def _refuse(client: Client, refusal: errors.Refusal) -> None:
    await client.refuse(refusal, str(uuid_utils.uuid7()))
