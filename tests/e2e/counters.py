"""What the engines of a service say that they made, over the lives of all its pods."""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx

from sandbox.cluster.kube import ApiStatusError
from tests.fixtures.kubernetes import PODS
from tests.fixtures.stack import Stack

SERVICE = "quartermaster.dev/service"
NAMES = ("prompt_tokens", "generation_tokens")
EVERY = 0.5
# A probe is recorded with the time at which its pass began; a pass, and a look here, take seconds.
LATE = timedelta(seconds=15)


class Counted(NamedTuple):
    """Tokens."""

    prompt: int
    made: int


@dataclass(frozen=True)
class Life:
    """What an engine had counted when it was last read."""

    tokens: Counted
    read_at: datetime


class EngineCounters:
    """Reads the counters of every pod twice a second, so that the last words of one that goes
    away are kept: traffic leaves a pod seconds before its engine ends.
    """

    def __init__(self, stack: Stack, service: str) -> None:
        self.stack, self.service = stack, service
        self.lives: dict[tuple[str, int], Life] = {}
        self.over = threading.Event()
        self.http = httpx.Client(timeout=2, trust_env=False)

    @contextmanager
    def watching(self) -> Iterator["EngineCounters"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            thread.join()

    def _run(self) -> None:
        while not self.over.wait(EVERY):
            self.look()

    def look(self) -> None:
        with suppress(httpx.HTTPError, ApiStatusError):
            found = self.stack.kube.get(PODS, labelSelector=f"{SERVICE}={self.service}")
            for pod in found["items"]:
                self._read(pod)

    def _read(self, pod: dict) -> None:
        statuses = pod["status"].get("containerStatuses") or [{}]
        address = pod["status"].get("podIP")
        if not address:
            return
        with suppress(httpx.HTTPError):
            text = self.http.get(f"http://{address}:8000/metrics").text
            # A restarted container counts from 0 again: it is another life.
            life = (pod["metadata"]["uid"], statuses[0].get("restartCount", 0))
            self.lives[life] = Life(
                Counted(*(total(text, name) for name in NAMES)), datetime.now(UTC)
            )

    def tokens(self) -> Counted:
        """Of all lives, probes of the console included."""
        self.look()
        return add(life.tokens for life in self.lives.values())

    def may_have_missed(self, pod: str, at: datetime) -> bool:
        """Whether an engine that crashed may have answered a probe after it was last read."""
        reads = [life.read_at for (uid, _), life in self.lives.items() if uid == pod]
        return not reads or any(abs(read_at - at) < LATE for read_at in reads)


def add(counts: Iterable[Counted]) -> Counted:
    prompts, made = zip(Counted(0, 0), *counts, strict=True)
    return Counted(sum(prompts), sum(made))


def total(metrics: str, name: str) -> int:
    found = re.findall(rf"^vllm:{name}_total\{{.*\}} ([0-9.e+]+)$", metrics, re.M)
    return int(sum(map(float, found)))
