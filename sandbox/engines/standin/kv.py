"""KV blocks from engine to engine: the handshake of vLLM's NIXL connector, without any blocks.

An engine that reads prompts keeps what it computed and answers where that waits; one that is given
such an answer fetches it from there before it generates. Both sides say their KV domain and refuse
another one. A real engine would not notice: its own check knows the model's name, not the weights.
So what this one counts as refused would have been an answer out of the wrong cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sandbox.engines.standin.http import Connection, Request, Server

LEASE = 30.0  # seconds that blocks wait to be fetched
FETCH_SECONDS = 5.0
WRITES = frozenset({"kv_producer", "kv_both"})
READS = frozenset({"kv_consumer", "kv_both"})


class Refused(Exception):
    """The blocks cannot be used; the text says why."""


@dataclass(slots=True)
class Held:
    tokens: int
    until: float  # on the monotonic clock


@dataclass
class Handover:
    """The side of one engine. `role` is empty where it has no connector."""

    role: str = ""
    domain: str = ""
    recomputes: bool = False  # kv_load_failure_policy
    host: str = "127.0.0.1"
    port: int = 5600
    engine_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    counts: Counter[str] = field(default_factory=Counter)  # given, fetched, refused, failed
    peers: Counter[str] = field(default_factory=Counter)  # domains met, ours and others
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def gives(self) -> bool:
        return self.role in WRITES

    def server(self) -> Server | None:
        return Server(self.handle) if self.gives else None

    # -- the engine that reads the prompt -------------------------------------------
    def keep(self, tokens: int) -> dict[str, Any]:
        """Of a prompt that was read; what the other engine must be given."""
        name, now = f"kv-{uuid.uuid4().hex}", time.monotonic()
        self.held = {k: h for k, h in self.held.items() if h.until > now}
        self.held[name] = Held(tokens, now + LEASE)
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(range(tokens // 16 + 1))],
            "remote_engine_id": self.engine_id,
            "remote_request_id": name,
            "remote_host": self.host,
            "remote_port": self.port,
            "remote_num_tokens": tokens,
            "tp_size": 1,
        }

    async def handle(self, request: Request, conn: Connection) -> None:
        """POST /fetch: somebody wants blocks."""
        try:
            asked = json.loads(request.body)
            domain, name = str(asked["kv_domain"]), str(asked["remote_request_id"])
        except (ValueError, KeyError, TypeError):
            conn.respond(400, b'{"why":"not a handshake"}')
            return
        self.peers[domain] += 1
        if domain != self.domain:
            self.counts["refused"] += 1
            conn.respond(409, json.dumps({"kv_domain": self.domain}).encode())
            return
        found = self.held.pop(name, None)
        if found is None or found.until < time.monotonic():
            conn.respond(404, b'{"why":"no such blocks, or nobody fetched them in time"}')
            return
        self.counts["given"] += 1
        conn.respond(200, json.dumps({"kv_domain": self.domain, "tokens": found.tokens}).encode())

    # -- the engine that answers ---------------------------------------------------------
    async def fetch(self, given: dict[str, Any]) -> int:
        """Tokens that need no prefill any more. Raise Refused where the blocks are not usable."""
        if self.role not in READS:
            raise Refused("this engine takes no blocks: it has no kv_role for it")
        try:
            status, answer = await asyncio.wait_for(self._ask(given), FETCH_SECONDS)
        except (OSError, ValueError, LookupError, TimeoutError) as error:
            return self._without(f"{given.get('remote_host')} does not answer: {error!r}")
        domain = str(answer.get("kv_domain", ""))
        if domain:
            self.peers[domain] += 1
        if domain and domain != self.domain:
            self.counts["refused"] += 1
            raise Refused(f"blocks of the KV domain {domain}, this engine is of {self.domain}")
        if status != 200:
            return self._without(str(answer.get("why", status)))
        self.counts["fetched"] += 1
        return int(answer["tokens"])

    def _without(self, why: str) -> int:
        self.counts["failed"] += 1
        if not self.recomputes:
            raise Refused(f"KV load failed: {why}")
        return 0

    async def _ask(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        host, port = str(given["remote_host"]), int(given["remote_port"])
        body = {"kv_domain": self.domain, "remote_request_id": given["remote_request_id"]}
        reader, writer = await asyncio.open_connection(host, port)
        try:
            text = json.dumps(body).encode()
            head = f"POST /fetch HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
            writer.write(f"{head}content-length: {len(text)}\r\n\r\n".encode() + text)
            status = int((await reader.readline()).split()[1])
            while (await reader.readline()).strip():
                pass
            return status, json.loads(await reader.read())
        finally:
            writer.close()

    # -- for tests ----------------------------------------------------------------------------
    def told(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "domain": self.domain,
            "counts": dict(self.counts),
            "peers": dict(self.peers),
        }


def handover_of(config: str, host: str) -> Handover:
    """As `--kv-transfer-config` and the environment say."""
    parsed = json.loads(config) if config else {}
    return Handover(
        role=str(parsed.get("kv_role", "")) if parsed.get("kv_connector") else "",
        domain=os.environ.get("QUARTERMASTER_KV_DOMAIN", ""),
        recomputes=parsed.get("kv_load_failure_policy") == "recompute",
        host=os.environ.get("VLLM_NIXL_SIDE_CHANNEL_HOST") or host,
        port=int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT") or 5600),
    )
