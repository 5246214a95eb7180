"""Traffic of a tenant by the `openai` client: one request, or a steady stream of them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import openai

PUMPS = count(1)


def messages() -> list[Any]:
    """A conversation of its own each time: during a rollout one stays with one release."""
    return [{"role": "user", "content": f"Where is the spare valve of pump {next(PUMPS)}?"}]


@dataclass(frozen=True, slots=True)
class Answer:
    fingerprint: str
    prompt_tokens: int
    completion_tokens: int
    request_id: str


class Tenant:
    """A tenant's program. It counts what it sent, by how it ended."""

    def __init__(self, gateway: str, model: str, key: str, timeout: float = 60) -> None:
        self.model, self.key, self.gateway = model, key, gateway
        self.client = openai.OpenAI(
            base_url=f"{gateway}/v1", api_key=key, max_retries=0, timeout=timeout
        )
        self.sent: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def ask(self, kind: str = "stream", tokens: int = 12, **more) -> Answer:
        """`kind`: stream, whole, text. Refusals and failures fly, and are counted all the same."""
        try:
            answer = {"stream": self._stream, "whole": self._whole, "text": self._text}[kind](
                {"model": self.model, "max_tokens": tokens} | more
            )
        except openai.AuthenticationError:
            raise  # nobody's request: it has no tenant, and no row
        except openai.APIStatusError as error:
            self.count("rejected" if error.status_code < 500 else "failed")
            raise
        except openai.APIError:
            self.count("failed")
            raise
        self.count("served")
        return answer

    def count(self, outcome: str) -> None:
        with self._lock:
            self.sent[outcome] += 1

    def _whole(self, body) -> Answer:
        raw = self.client.chat.completions.with_raw_response
        return read(raw.create(messages=messages(), **body))

    def _text(self, body) -> Answer:
        raw = self.client.completions.with_raw_response
        return read(raw.create(prompt="once upon a time", **body))

    def _stream(self, body) -> Answer:
        options = {"include_usage": True}
        raw = self.client.chat.completions.with_raw_response
        answer = raw.create(messages=messages(), stream=True, stream_options=options, **body)
        *_, last = answer.parse()
        assert last.usage, "a stream ends with its usage"
        return told(last, answer.request_id)

    def leave(self, after: int = 5) -> None:
        """Begin a long stream and hang up."""
        stream = self.client.chat.completions.create(
            model=self.model,
            messages=messages(),
            stream=True,
            max_tokens=400,
            extra_body={"ignore_eos": True},
        )
        for number, _ in enumerate(stream):
            if number == after:
                break
        stream.close()
        self.count("cancelled")

    @contextmanager
    def steady(self, threads: int = 2, pause: float = 0.25) -> Iterator["Steady"]:
        """Requests of all kinds until the block ends; failures are kept, not raised."""
        running = Steady(self, pause)
        workers = [threading.Thread(target=running.run, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield running
        finally:
            running.over.set()
            for worker in workers:
                worker.join()


@dataclass
class Steady:
    tenant: Tenant
    pause: float
    over: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[float, Answer]] = field(default_factory=list)

    def run(self, number: int) -> None:
        kinds = ("stream", "whole", "stream", "text")
        while not self.over.is_set():
            try:
                answer = self.tenant.ask(kinds[number % 4])
                self.answers.append((time.monotonic(), answer))
            except (openai.APIError, AssertionError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            number += 1
            self.over.wait(self.pause)

    def fingerprints(self, last: int) -> set[str]:
        return {answer.fingerprint for _, answer in self.answers[-last:]}


def read(answer) -> Answer:
    return told(answer.parse(), answer.request_id)


def told(said, request_id: str) -> Answer:
    usage = said.usage
    return Answer(said.system_fingerprint, usage.prompt_tokens, usage.completion_tokens, request_id)
