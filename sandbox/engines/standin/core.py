"""The simulated engine behind the stand-in: queue, batch slots, timing, prefix cache.

It keeps the observable rules of vLLM 0.32 and none of its arithmetic: tokens are
counted, not computed.  What differs on purpose:
* each request has its own decode timer, so `iteration_tokens_total` counts one
  step per token of a request rather than one per batch;
* a token is four bytes of UTF-8 text; there is no tokenizer;
* there is no preemption: KV usage is only reported.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from sandbox.engines.standin.metrics import Metrics

BLOCK = 16  # tokens of a prefix-cache block (vLLM on CUDA: 16; vLLM on CPU: 128)
WORDS = tuple(f" tok{i}" for i in range(64))


class QueueFull(Exception):
    """--max-num-queued-reqs is exceeded (HTTP 503)."""


class Draining(Exception):
    """SIGTERM came and --shutdown-timeout is not 0 (HTTP 500)."""


class EngineDead(Exception):
    """The engine process is gone (HTTP 500, or an error event in a stream)."""


@dataclass
class Knobs:
    """What a test can change while the engine runs (PUT /admin/config)."""

    ttft_ms: float = 0.0  # constant part of the prefill time
    ttft_ms_per_token: float = 0.0  # per prompt token that is not cached
    itl_ms: float = 0.0  # time between two output tokens
    jitter: float = 0.0  # 0..1: each delay is scaled by a random 1 +- jitter
    output_tokens: int = 64  # natural end ("stop") unless ignore_eos
    error_rate: float = 0.0  # share of requests that fail before the first token
    error_status: int = 500
    break_rate: float = 0.0  # share of streams whose connection is cut half-way
    hang: bool = False  # frozen engine: requests wait for ever, /health stays 200
    health_status: int = 200
    loose: bool = False  # takes no notice of schemas, stop words, tools and the longest context
    garble: bool = False  # answers end at once, without a token
    fingerprint: str | None = None  # overrides --fingerprint-value
    hide_metrics: list[str] = field(default_factory=list)  # without the "vllm:" prefix


@dataclass(slots=True)
class Job:
    """One sequence to generate."""

    prompt: str | list[int]
    max_tokens: int
    ignore_eos: bool = False
    salt: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    fetched_tokens: int = 0  # read by another engine
    generated: int = 0
    finish_reason: str | None = None
    texts: tuple[str, ...] | None = None  # of its tokens; None: words without a meaning
    tool: str = ""  # that the texts call
    stop: str | None = None  # the word that ends it

    def text(self, position: int) -> str:
        """Of the token at this position, from 0."""
        words = WORDS if self.texts is None else self.texts
        return words[position % len(words)]

    def reason(self, target: int) -> str:
        """Why it ends after that many tokens."""
        if self.texts is None:
            return "length" if target == self.max_tokens else "stop"
        return "length" if target < len(self.texts) else "stop"

    @property
    def created_tokens(self) -> int:
        """Prompt tokens of whole blocks that this request added to the prefix cache."""
        return max(0, self.prompt_tokens // BLOCK * BLOCK - self.cached_tokens)


def count_tokens(prompt: str | list[int]) -> int:
    if isinstance(prompt, list):
        return len(prompt)
    return max(1, (len(prompt.encode()) + 3) // 4)


def _finish(fut: asyncio.Future[None]) -> None:
    if not fut.done():
        fut.set_result(None)


class PrefixCache:
    """Which leading blocks of a prompt were seen, in LRU order."""

    def __init__(self, blocks: int) -> None:
        self.capacity = blocks
        self._seen: OrderedDict[int, None] = OrderedDict()

    def lookup_and_add(self, prompt: str | list[int], tokens: int, salt: str) -> int:
        """Number of cached prompt tokens; at least one token is always computed."""
        width = BLOCK if isinstance(prompt, list) else BLOCK * 4
        usable = (tokens - 1) // BLOCK
        key, hits, matching = hash(salt), 0, True
        for i in range(usable):
            part = prompt[i * width : (i + 1) * width]
            key = hash((key, tuple(part) if isinstance(part, list) else part))
            if key in self._seen:
                self._seen.move_to_end(key)
                hits += matching
            else:
                matching = False
                self._seen[key] = None
                if len(self._seen) > self.capacity:
                    self._seen.popitem(last=False)
        return hits * BLOCK


@dataclass(slots=True)
class _Clock:
    """Moments of one sequence, on the monotonic clock, in seconds."""

    arrived: float
    started: float = 0.0
    first: float | None = None  # first token
    last: float = 0.0  # last token, or the start


class Engine:
    """Admission, a FIFO queue, max_num_seqs slots and timed generation."""

    def __init__(
        self, metrics: Metrics, knobs: Knobs, max_num_seqs: int, max_queued: int | None
    ) -> None:
        self.metrics, self.knobs = metrics, knobs
        self.max_num_seqs, self.max_queued = max_num_seqs, max_queued
        self.running = 0
        self.kv_tokens = 0
        self.kv_capacity = 262_144
        self.cache = PrefixCache(self.kv_capacity // BLOCK)
        self.draining = False
        self.aborting = False
        self.dead = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sleepers: set[asyncio.Future[None]] = set()
        self._rng = random.Random()

    # -- state --------------------------------------------------------------
    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def unfinished(self) -> int:
        return self.running + len(self._waiting)

    def abort_all(self) -> None:
        """--shutdown-timeout 0: every request ends now with reason "abort"."""
        self.aborting = True
        self._wake()

    def die(self) -> None:
        """As after SIGKILL of the engine process: every request fails."""
        self.dead = True
        self._wake()

    def _wake(self) -> None:
        for fut in [*self._sleepers, *self._waiting]:
            _finish(fut)

    # -- admission ------------------------------------------------------------
    def check_admission(self, n: int) -> None:
        """vLLM counts waiting + running here, in spite of the flag's name."""
        if self.dead:
            raise EngineDead
        if self.draining:
            raise Draining
        if self.max_queued is not None and self.unfinished + n > self.max_queued:
            self.metrics.rejections["max_num_queued_reqs"] += 1
            raise QueueFull

    async def _enter(self) -> None:
        if self.running < self.max_num_seqs and not self._waiting:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot was already handed over
                self._leave()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
                if not turn.cancelled():  # woken by _wake(), not by _leave()
                    self.running += 1

    def _leave(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self.max_num_seqs:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    # -- generation -----------------------------------------------------------
    async def _pause(self, ms: float) -> None:
        """Sleep ms (with jitter); ends early when the engine aborts or dies."""
        if self.knobs.hang:
            while self.knobs.hang and not (self.aborting or self.dead):
                await self._sleep(0.05)
        if ms <= 0 or self.aborting or self.dead:
            return
        j = self.knobs.jitter
        await self._sleep(ms / 1000 * (1 + self._rng.uniform(-j, j)) if j else ms / 1000)

    async def _sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        fut: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _finish, fut)
        self._sleepers.add(fut)
        try:
            await fut
        finally:
            timer.cancel()
            self._sleepers.discard(fut)

    async def generate(self, job: Job) -> AsyncGenerator[int, None]:
        """Yield the number of new tokens; job.finish_reason is set at the end.

        With no inter-token delay all tokens come in one step, which is what makes
        a stand-in with zero latencies cheap.
        """
        k, clock = self.knobs, _Clock(arrived=time.monotonic())
        await self._enter()
        clock.started = clock.last = time.monotonic()
        target = self._target(job)
        self._begin(job)
        try:
            uncached = job.prompt_tokens - job.cached_tokens
            await self._pause(k.ttft_ms + k.ttft_ms_per_token * uncached)
            if target == 0:
                job.finish_reason = "stop"
            while job.generated < target:
                if job.generated:
                    await self._pause(k.itl_ms)
                if self.dead:
                    raise EngineDead
                if self.aborting:
                    job.finish_reason = "abort"
                    break
                first_of_many = job.generated == 0 and target > 1
                batch = 1 if k.itl_ms > 0 or first_of_many else target - job.generated
                self._step(job, batch, clock)
                if job.generated >= target:
                    job.finish_reason = job.reason(target)
                yield batch
        finally:
            self._finish(job, clock)

    def _target(self, job: Job) -> int:
        """How many tokens the answer gets when nothing ends it early."""
        if self.knobs.garble:
            return 0
        if job.texts is not None:
            return min(job.max_tokens, len(job.texts))
        return job.max_tokens if job.ignore_eos else min(job.max_tokens, self.knobs.output_tokens)

    def _begin(self, job: Job) -> None:
        m = self.metrics
        job.prompt_tokens = count_tokens(job.prompt)
        job.cached_tokens = self.cache.lookup_and_add(job.prompt, job.prompt_tokens, job.salt)
        # At least one token is always computed.
        job.fetched_tokens = max(min(job.fetched_tokens, job.prompt_tokens - 1), 0)
        job.fetched_tokens = max(job.fetched_tokens - job.cached_tokens, 0)
        job.cached_tokens += job.fetched_tokens
        self.kv_tokens += job.prompt_tokens
        m.counters["prefix_cache_queries"] += job.prompt_tokens
        m.counters["prefix_cache_hits"] += job.cached_tokens - job.fetched_tokens
        m.counters["external_prefix_cache_hits"] += job.fetched_tokens

    def _step(self, job: Job, batch: int, clock: _Clock) -> None:
        """Account for one engine step of `batch` tokens."""
        m, now = self.metrics, time.monotonic()
        if clock.first is None:
            clock.first = now
            m.hist["time_to_first_token_seconds"].observe(now - clock.arrived)
            m.hist["iteration_tokens_total"].observe(job.prompt_tokens - job.cached_tokens + batch)
            m.counters["prompt_tokens"] += job.prompt_tokens
            m.counters["prompt_tokens_cached"] += job.cached_tokens
            m.by_source["local_compute"] += job.prompt_tokens - job.cached_tokens
            m.by_source["local_cache_hit"] += job.cached_tokens - job.fetched_tokens
            m.by_source["external_kv_transfer"] += job.fetched_tokens
        else:
            gap = (now - clock.last) / batch
            m.hist["inter_token_latency_seconds"].observe(gap, batch)
            m.hist["iteration_tokens_total"].observe(1, batch)
        job.generated += batch
        clock.last = now
        self.kv_tokens += batch
        m.counters["generation_tokens"] += batch

    def _finish(self, job: Job, clock: _Clock) -> None:
        """Free the slot and write the per-request metrics."""
        self.kv_tokens -= job.prompt_tokens + job.generated
        self._leave()
        if job.finish_reason is None and not self.dead:
            return  # the client went away: vLLM counts it in no per-request metric
        m, h, now = self.metrics, self.metrics.hist, time.monotonic()
        m.finished[job.finish_reason or "error"] += 1
        first, last = clock.first or now, clock.last
        samples = {
            "e2e_request_latency_seconds": now - clock.arrived,
            "request_queue_time_seconds": clock.started - clock.arrived,
            "request_inference_time_seconds": now - clock.started,
            "request_prefill_time_seconds": first - clock.started,
            "request_decode_time_seconds": max(0.0, last - first),
            "request_prompt_tokens": job.prompt_tokens,
            "request_generation_tokens": job.generated,
            "request_max_num_generation_tokens": job.generated,
            "request_params_n": 1,
            "request_params_max_tokens": job.max_tokens,
            "request_num_preemptions": 0,
            "request_prefill_kv_computed_tokens": job.prompt_tokens - job.cached_tokens,
        }
        for name, value in samples.items():
            h[name].observe(value)
        if job.generated > 1:
            per_token = max(0.0, last - first) / (job.generated - 1)
            h["request_time_per_output_token_seconds"].observe(per_token)
