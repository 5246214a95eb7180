"""Load: a steady rate for latency, a fixed number of clients for cost."""

import asyncio
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

TICKS = os.sysconf("SC_CLK_TCK")
PROMPT = "Tell me about the weather in the mountains. " * 18  # a body of about 1 kB


@dataclass(frozen=True)
class Target:
    name: str
    url: str
    key: str
    pid: int | None = None  # whose CPU time counts


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    p50: float
    p99: float
    requests: int


@dataclass(frozen=True)
class Cost:
    requests: int
    cpu_seconds: float
    seconds: float

    @property
    def per_cpu_second(self) -> float:
        return self.requests / self.cpu_seconds if self.cpu_seconds else 0.0


def body(*, stream: bool) -> bytes:
    message = {"role": "user", "content": PROMPT}
    fields = {"model": "tiny", "messages": [message], "max_tokens": 100, "stream": stream}
    return json.dumps(fields).encode()


async def send(session: aiohttp.ClientSession, target: Target, payload: bytes) -> None:
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
    async with session.post(
        target.url + "/v1/chat/completions", data=payload, headers=headers
    ) as response:
        answer = await response.read()
        if response.status != 200:
            raise RuntimeError(f"{target.name} answers {response.status}: {answer[:300]!r}")


async def latency(target: Target, *, rate: float, seconds: float) -> Latency:
    """Send at a steady rate, whether or not answers come (an open loop)."""
    payload = body(stream=False)
    times: list[float] = []

    async def one(due: float) -> None:
        await send(session, target, payload)
        times.append(time.perf_counter() - due)  # lateness of the sender counts as latency

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begin = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.ensure_future(one(time.perf_counter())))
        await asyncio.gather(*tasks)
    times.sort()
    return Latency(
        p50=statistics.median(times) * 1000,
        p99=times[int(0.99 * (len(times) - 1))] * 1000,
        requests=len(times),
    )


async def cost(target: Target, *, clients: int, seconds: float, stream: bool) -> Cost:
    """Keep a number of clients busy; count the CPU seconds of the target's processes."""
    payload = body(stream=stream)
    done = 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await send(session, target, payload)
            done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        start, end = time.perf_counter(), time.perf_counter() + seconds
        before = cpu_seconds(target.pid)
        await asyncio.gather(*(client() for _ in range(clients)))
        spent = cpu_seconds(target.pid) - before
    return Cost(requests=done, cpu_seconds=spent, seconds=time.perf_counter() - start)


def cpu_seconds(pid: int | None) -> float:
    """CPU seconds of a process and all its descendants so far."""
    if pid is None:
        return 0.0
    total, waiting = 0.0, [pid]
    while waiting:
        number = waiting.pop()
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
        for task in Path(f"/proc/{number}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return total


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
