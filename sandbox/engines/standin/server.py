"""The HTTP face of the stand-in engine.

Bodies, error texts, header order and the place of `system_fingerprint` were copied from answers
of a real vLLM 0.32.0 on CPU.

Faults are changed live through a second port (--admin-port, same address):

    GET  /admin/config                 the knobs (core.Knobs)
    PUT  /admin/config {"hang": true}  change some of them
    GET  /admin/kv                     blocks given and fetched, peers refused (kv.Handover)
    POST /admin/exit {"code": 1}       exit at once, as after a crash
    POST /admin/kill-engine            in-flight requests fail as after EngineDeadError
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from sandbox.engines.standin.core import Draining, Engine, EngineDead, Job, Knobs, QueueFull
from sandbox.engines.standin.group import Group
from sandbox.engines.standin.http import Connection, Request, Server
from sandbox.engines.standin.kv import Refused, handover_of
from sandbox.engines.standin.metrics import Metrics
from sandbox.engines.standin.wire import ApiError, Reply, parse_request

BUSY = (
    "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance."
)
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
GENERATE = {"/v1/completions": False, "/v1/chat/completions": True}


def cache_config(args: argparse.Namespace) -> dict[str, str]:
    """Labels of vllm:cache_config_info, which has some thirty more."""
    return {
        "block_size": args.block_size,
        "cache_dtype": args.kv_cache_dtype,
        "enable_prefix_caching": str(args.enable_prefix_caching != args.lie),
        "gpu_memory_utilization": args.gpu_memory_utilization,
        "num_gpu_blocks": "16384",
        "prefix_caching_hash_algo": args.prefix_caching_hash_algo,
    }


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _permission() -> dict[str, Any]:
    """The same for every model and every caller, in vLLM too."""
    return {
        "id": f"modelperm-{os.urandom(8).hex()}",
        "object": "model_permission",
        "created": int(time.time()),
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }


class StandIn:
    """The HTTP face of one engine."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.names: list[str] = args.served_model_name or [args.model]
        self.adapters = dict(args.lora_modules)  # paths by name
        self.metrics = Metrics(self.names[0], cache_config(args))
        self.knobs = Knobs(
            ttft_ms=args.ttft_ms,
            ttft_ms_per_token=args.ttft_ms_per_token,
            itl_ms=args.itl_ms,
            output_tokens=args.output_tokens,
            error_rate=args.error_rate,
            break_rate=args.break_rate,
            loose=args.loose,
            garble=args.garble,
            fingerprint=args.force_fingerprint,
        )
        self.engine = Engine(self.metrics, self.knobs, args.max_num_seqs, args.max_num_queued_reqs)
        self.server = Server(self.handle)
        self.admin = Server(self.handle_admin)
        self.kv = handover_of(args.kv_transfer_config, args.host)
        self.side = self.kv.server()
        self.group = Group(args)
        self.stopped = asyncio.Event()
        self.rng = random.Random()

    # -- routes ---------------------------------------------------------------
    async def handle(self, request: Request, conn: Connection) -> None:
        began = time.monotonic()
        path = request.path
        known = True
        try:
            if path in GENERATE:
                if request.method != "POST":
                    conn.respond(405, b'{"detail":"Method Not Allowed"}', extra="allow: POST\r\n")
                else:
                    await self._generate(request, conn, chat=GENERATE[path])
            else:
                known = self._simple(path, conn)
        finally:
            seconds = time.monotonic() - began
            self.metrics.http_done(
                path if known else "none", request.method, conn.status or 500, seconds
            )

    def _simple(self, path: str, conn: Connection) -> bool:
        """The routes without a body; False for an unknown path."""
        if path in ("/health", "/ping"):
            conn.respond(503 if self.engine.dead else self.knobs.health_status)
        elif path == "/metrics":
            usage = min(1.0, self.engine.kv_tokens / self.engine.kv_capacity)
            page = self.metrics.render(
                self.engine.running, self.engine.waiting, usage, frozenset(self.knobs.hide_metrics)
            )
            conn.respond(200, page, "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/v1/models":
            models = [self._model(name) for name in self.names]
            models += [self._adapter(*one) for one in self.adapters.items()]
            conn.respond(200, dumps({"object": "list", "data": models}))
        elif path == "/version":
            conn.respond(200, dumps({"version": self.args.engine_version}))
        elif path == "/load":
            conn.respond(200, b'{"server_load":0}')
        else:
            conn.respond(404, b'{"detail":"Not Found"}')
            return False
        return True

    def _model(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "vllm",
            "root": self.args.model,
            "parent": None,
            "max_model_len": self.args.max_model_len,
            "permission": [_permission()],
        }

    def _adapter(self, name: str, path: str) -> dict[str, Any]:
        own = {"id": name, "root": path, "parent": self.names[0], "max_model_len": None}
        return self._model(name) | own

    # -- generation -----------------------------------------------------------
    async def _generate(self, request: Request, conn: Connection, *, chat: bool) -> None:
        try:
            jobs, reply = parse_request(
                request,
                chat,
                self.names,
                self.args.max_model_len,
                self.args.enable_prompt_tokens_details,
                self.knobs.loose,
                self.adapters,
            )
            reply.fingerprint = self.fingerprint
            self.engine.check_admission(len(jobs))
            if self.knobs.error_rate and self.rng.random() < self.knobs.error_rate:
                raise ApiError(self.knobs.error_status, "injected failure", "InternalServerError")
            await self._take_blocks(reply, jobs)
            if reply.stream:
                await self._stream(jobs, reply, conn)
            else:
                await self._collect_all(jobs)
                conn.respond(200, dumps(reply.whole(jobs) | self._blocks(reply, jobs)))
        except ApiError as exc:
            conn.respond(exc.status, dumps(exc.body()))
        except QueueFull:
            conn.respond(503, dumps(ApiError(503, BUSY, "Service Unavailable").body()))
        except Draining:
            text = "cannot schedule new futures after shutdown"
            conn.respond(500, dumps(ApiError(500, text, "InternalServerError").body()))
        except EngineDead:
            conn.respond(500, dumps(ApiError(500, DEAD, "InternalServerError").body()))
        except (TypeError, ValueError, AttributeError) as exc:  # a field of another type
            conn.respond(400, dumps(ApiError(400, f"1 validation error:\n  {exc}").body()))

    async def _take_blocks(self, reply: Reply, jobs: list[Job]) -> None:
        """What another engine read of the prompt is not computed again."""
        if not reply.kv.get("do_remote_prefill"):
            return
        try:
            tokens = await self.kv.fetch(reply.kv)
        except Refused as exc:
            raise ApiError(500, str(exc), "InternalServerError") from exc
        for job in jobs:
            job.fetched_tokens = tokens

    def _blocks(self, reply: Reply, jobs: list[Job]) -> dict[str, Any]:
        """Where the blocks of this prompt wait, for who asked to have them elsewhere. vLLM keeps
        those of an answer that is not over yet only.
        """
        cut = jobs[0].finish_reason == "length"
        if not (reply.kv.get("do_remote_decode") and self.kv.gives and cut):
            return {}
        return {"kv_transfer_params": self.kv.keep(jobs[0].prompt_tokens)}

    @property
    def fingerprint(self) -> str | None:
        if self.knobs.fingerprint is not None:
            return self.knobs.fingerprint
        mode, value = self.args.fingerprint_mode, self.args.fingerprint_value
        if mode == "none":
            return None
        return (
            value if mode == "custom" and value else f"vllm-{self.args.engine_version}-tp1-stand-in"
        )

    async def _collect_all(self, jobs: list[Job]) -> None:
        others = [asyncio.ensure_future(self._collect(job)) for job in jobs[1:]]
        try:
            # Without a task: it must take its place before another request is admitted.
            await self._collect(jobs[0])
            await asyncio.gather(*others)
        finally:
            for other in others:
                other.cancel()

    async def _collect(self, job: Job) -> None:
        async with aclosing(self.engine.generate(job)) as steps:
            async for _ in steps:
                pass

    async def _stream(self, jobs: list[Job], reply: Reply, conn: Connection) -> None:
        """Only the first prompt is streamed: n > 1 streams are outside the stand-in."""
        job, started = jobs[0], False
        broken = bool(self.knobs.break_rate) and self.rng.random() < self.knobs.break_rate
        try:
            async with aclosing(self.engine.generate(job)) as steps:
                async for batch in steps:
                    if not started:
                        started = True
                        self._open(conn, reply, job)
                    if broken and job.generated > 1:
                        conn.cut()
                        return
                    self._send_tokens(conn, reply, job, batch)
                    await conn.drain()
            if not started:
                self._open(conn, reply, job)
            self._close(conn, reply, job)
        except EngineDead:
            if not started:
                raise
            self._send(conn, ApiError(500, DEAD, "InternalServerError").body())
        conn.chunk(b"data: [DONE]\n\n")
        conn.end_stream()

    def _open(self, conn: Connection, reply: Reply, job: Job) -> None:
        conn.start_stream()
        self._send(conn, reply.opening(job))

    def _send_tokens(self, conn: Connection, reply: Reply, job: Job, batch: int) -> None:
        for i in range(batch - 1, -1, -1):
            self._send(conn, reply.token(job, job.generated - i, final=i == 0))

    def _close(self, conn: Connection, reply: Reply, job: Job) -> None:
        if job.finish_reason == "abort" or not job.generated:
            self._send(conn, reply.token(job, job.generated, final=True, empty=True))
        self._send(conn, reply.closing(job))

    @staticmethod
    def _send(conn: Connection, event: dict[str, Any] | None) -> None:
        if event is not None:
            conn.chunk(b"data: " + dumps(event) + b"\n\n")

    # -- admin ----------------------------------------------------------------
    async def handle_admin(self, request: Request, conn: Connection) -> None:
        try:
            body = json.loads(request.body or b"{}")
            if request.path == "/admin/config" and request.method in ("GET", "PUT"):
                for key, value in body.items():
                    if key not in asdict(self.knobs):
                        raise ValueError(f"unknown knob {key}")
                    setattr(self.knobs, key, value)
                conn.respond(200, dumps(asdict(self.knobs)))
            elif request.path == "/admin/kv" and request.method == "GET":
                conn.respond(200, dumps(self.kv.told()))
            elif request.path == "/admin/exit" and request.method == "POST":
                os._exit(int(body.get("code", 1)))
            elif request.path == "/admin/kill-engine" and request.method == "POST":
                self.engine.die()
                asyncio.get_running_loop().call_later(2.0, self.stopped.set)
                conn.respond(200, b"{}")
            else:
                conn.respond(404, b'{"detail":"Not Found"}')
        except (ValueError, AttributeError) as exc:
            conn.respond(400, dumps({"detail": str(exc)}))

    # -- life -----------------------------------------------------------------
    def on_sigterm(self) -> None:
        """vLLM reacts to the first signal only."""
        if self.engine.draining or self.engine.aborting:
            return
        self.engine.draining = True
        print(f"shutdown triggered, timeout={self.args.shutdown_timeout}s", flush=True)
        self._stopping = asyncio.get_running_loop().create_task(self._shutdown())

    async def _shutdown(self) -> None:
        deadline = time.monotonic() + self.args.shutdown_timeout
        if self.args.shutdown_timeout == 0:
            self.server.stop_listening()
            self.engine.abort_all()
        while self.engine.unfinished and self.args.shutdown_timeout and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if self.engine.unfinished and self.args.shutdown_timeout:
            # Seen on vLLM 0.32: the engine process is killed, the port closes, and the open
            # requests get nothing any more, neither an error nor an end.  The process waits
            # for their clients to go away; in Kubernetes SIGKILL ends that.
            self.server.stop_listening()
            self.server.close_idle()
            self.knobs.hang = True
            while self.engine.unfinished:
                await asyncio.sleep(0.05)
        await asyncio.sleep(
            self.args.teardown_seconds
        )  # a real vLLM needs 3 s (abort) to 8 s (drain)
        self.stopped.set()

    async def _load(self, stop: asyncio.Task[Any]) -> None:
        """As long as a start takes, and until the workers are there."""
        loop = asyncio.get_running_loop()
        await asyncio.wait({stop}, timeout=self.args.start_delay)
        if self.group.alone:
            return
        await self.group.gather()
        whole = loop.create_task(self.group.whole.wait())
        self._losing = loop.create_task(self._lose())
        await asyncio.wait({stop, whole}, return_when=asyncio.FIRST_COMPLETED)

    async def _lose(self) -> None:
        """Without one of its pods an engine computes nothing any more."""
        await self.group.lost.wait()
        print(f"RuntimeError: {self.group.why}", file=sys.stderr, flush=True)
        self.engine.die()
        await asyncio.sleep(0.2)
        self.stopped.set()

    async def serve(self) -> int:
        """Load, listen, serve until stopped; returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.on_sigterm)
        loop.add_signal_handler(signal.SIGINT, self.on_sigterm)
        args = self.args
        if args.lora_modules and not args.enable_lora:
            print("ValueError: LoRA is not enabled", file=sys.stderr, flush=True)
            return 1
        works = not self.group.alone and args.headless
        dies_after = args.worker_crash_after if works else args.crash_after
        if dies_after is not None:
            await asyncio.sleep(dies_after)
            print("RuntimeError: CUDA error: injected crash at start", file=sys.stderr, flush=True)
            return int(args.exit_code)
        if args.admin_port:
            await self.admin.start(args.host, args.admin_port)
        stop = loop.create_task(self.stopped.wait())
        if works:
            joined = loop.create_task(self.group.work())
            await asyncio.wait({stop, joined}, return_when=asyncio.FIRST_COMPLETED)
            return joined.result() if joined.done() else 0
        # The port opens only when the model is loaded: a refused connection means "loading".
        await self._load(stop)
        if not self.stopped.is_set():
            if self.side is not None:
                await self.side.start(self.kv.host, self.kv.port)
            await self.server.start(args.host, args.port)
            print(f"listening on {args.host}:{args.port}", flush=True)
        await stop
        self.server.stop_listening()
        self.server.close_idle()
        await asyncio.sleep(0.05)  # let the last bytes leave
        self.group.close()
        return 1 if self.engine.dead and not self.engine.draining else 0
