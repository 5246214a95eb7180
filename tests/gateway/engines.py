"""A small engine with vLLM's wire format, and an ingest door; both keep what they were sent."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PROMPT_TOKENS = 11
CACHED_TOKENS = 4


@dataclass
class Engine:
    """Answers as its fields say. `mode` is the fault it plays, empty for none."""

    mode: str = ""
    tokens: int = 5
    pause: float = 0.0  # seconds between tokens
    think: float = 0.0  # seconds before the headers
    go_on: asyncio.Event | None = None  # no answer before it is set
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    running: int = 0
    peak: int = 0
    gone: int = 0  # connections that were closed before the end
    address: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.answer)
        app.router.add_post("/v1/completions", self.answer)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def ids(self) -> list[str]:
        return [headers["x-request-id"] for headers, _ in self.requests]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.requests.append(({k.lower(): v for k, v in request.headers.items()}, json.loads(raw)))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._answer(request, self.requests[-1][1])
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(3600 if self.mode == "silent" else self.think)
        if self.go_on is not None:
            await self.go_on.wait()
        if self.mode == "hangs up once":
            self.mode = ""
            request.transport.abort()
            raise ConnectionResetError
        if self.mode == "full":
            return _error(503, "Service Unavailable", "too many requests are queued")
        if self.mode == "shut down":
            return _error(500, "InternalServerError", "cannot schedule new futures after shutdown")
        if self.mode == "refuses":
            return _error(400, "BadRequestError", "the prompt is longer than the context")
        if body.get("stream"):
            return await self._stream(request, body)
        await asyncio.sleep(self.pause * self.tokens)
        return web.json_response(self._whole(body))

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        number = body.get("n") or 1
        reason = "abort" if self.mode == "aborts" else "stop"
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "word " * self.tokens},
                "finish_reason": reason,
            }
            for index in range(number)
        ]
        usage = _usage(self.tokens * number, details=True)
        return {"id": "chatcmpl-1", "model": body["model"], "choices": choices, "usage": usage}

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        options = body.get("stream_options") or {}
        number = body.get("n") or 1
        for token in range(1, self.tokens + 1):
            if self.mode == "goes silent" and token == 2:
                await asyncio.sleep(3600)
            if self.mode == "breaks" and token == 2:
                request.transport.abort()
                return response
            for index in range(number):
                await self._chunk(response, options, token, index)
            await asyncio.sleep(self.pause)
        await self._end(response, options, number)
        return response

    async def _chunk(self, response, options, token: int, index: int) -> None:
        reason = None
        if token == self.tokens:
            reason = "abort" if self.mode == "aborts" else "length"
        delta = {"content": f"w{token} "}
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "tiny",
            "choices": [{"index": index, "delta": delta, "finish_reason": reason}],
        }
        if options.get("continuous_usage_stats"):
            chunk["usage"] = _usage(token)
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    async def _end(self, response, options, number: int) -> None:
        if self.mode == "reports an error":
            error = {"error": {"message": "the engine died", "type": "InternalServerError"}}
            await response.write(b"data: " + json.dumps(error).encode() + b"\n\n")
        elif options.get("include_usage"):
            usage = _usage(self.tokens * number, details=True)
            closing = {"id": "chatcmpl-1", "model": "tiny", "choices": [], "usage": usage}
            await response.write(b"data: " + json.dumps(closing).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()


def _usage(completion: int, *, details: bool = False) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
    }
    if details:
        usage["prompt_tokens_details"] = {"cached_tokens": CACHED_TOKENS}
    return usage


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)


@dataclass
class Door:
    """The ingest door: one row an id, as the console keeps it."""

    token: str = "qms_test"
    status: int = 200
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    duplicates: int = 0
    poison: str = ""  # a batch with this model in it is refused as a whole
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/api/v1/usage/events", self.take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api/v1/usage/events"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def take(self, request: web.Request) -> web.Response:
        assert request.headers["authorization"] == f"Bearer {self.token}"
        assert request.content_type == "application/cloudevents-batch+json"
        events = await request.json()
        if self.status != 200:
            return web.json_response({"detail": "not now"}, status=self.status)
        if self.poison and any(event["data"]["model"] == self.poison for event in events):
            return web.json_response({"detail": "poison"}, status=422)
        fresh = 0
        for event in events:
            if event["id"] in self.rows:
                self.duplicates += 1
                continue
            fresh += 1
            self.rows[event["id"]] = event
        answer = {"accepted": fresh, "duplicates": len(events) - fresh, "quarantined": []}
        return web.json_response(answer)

    def outcomes(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for event in self.rows.values():
            outcome = event["data"]["outcome"]
            counts[outcome] = counts.get(outcome, 0) + 1
        return counts
