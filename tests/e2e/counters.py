"""What the engines of a service say that they made, over the lives of all its pods."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from sandbox.cluster.kube import ApiStatusError
from tests.fixtures.kubernetes import PODS
from tests.fixtures.stack import Stack

SERVICE = "quartermaster.dev/service"
NAMES = ("prompt_tokens", "generation_tokens")
EVERY = 0.5


class EngineCounters:
    """Reads the counters of every pod twice a second, so that the last words of one that goes
    away are kept: traffic leaves a pod seconds before its engine ends.
    """

    def __init__(self, stack: Stack, service: str) -> None:
        self.stack, self.service = stack, service
        self.lives: dict[tuple[str, int], tuple[int, ...]] = {}
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
            self.lives[life] = tuple(total(text, name) for name in NAMES)

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of all lives, probes of the console included."""
        self.look()
        return (
            sum(prompt for prompt, _ in self.lives.values()),
            sum(made for _, made in self.lives.values()),
        )


def total(metrics: str, name: str) -> int:
    found = re.findall(rf"^vllm:{name}_total\{{.*\}} ([0-9.e+]+)$", metrics, re.M)
    return int(sum(map(float, found)))
