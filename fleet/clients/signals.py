"""What engines say about themselves: their metrics, and one token asked of them."""

import time
from dataclasses import dataclass

import httpx
import msgspec

from fleet.clients.engine import Completion, read
from fleet.clients.errors import Permanent, Temporary
from fleet.clients.whole import ask_whole

METRICS_SECONDS = 2.0
PROBE_SECONDS = 10.0  # an engine that hangs answers nothing: the deadline is the finding
LONGEST_METRICS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OneToken:
    """An engine's answer to the smallest question that exercises all of it."""

    fingerprint: str  # empty: it gave none
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    milliseconds: float


class Engines:
    """Talks to engines directly, past the gateway. Safe to share between threads."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=4)
        self.http = httpx.Client(transport=transport, limits=limits, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def metrics(self, address: str) -> str:
        until = time.monotonic() + METRICS_SECONDS
        try:
            answer = ask_whole(
                self.http, "GET", f"http://{address}/metrics", until, most=LONGEST_METRICS
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Temporary(f"No metrics from {address}: {told(error)}") from error
        if answer.status_code != 200:
            raise Temporary(f"No metrics from {address}: it answered {answer.status_code}")
        return answer.text

    def one_token(self, address: str, model: str) -> OneToken:
        """Ask for one token. `Temporary`: no answer in time; `Permanent`: a wrong one."""
        body = {"model": model, "prompt": "ping", "max_tokens": 1, "temperature": 0}
        started = time.monotonic()
        try:
            answer = ask_whole(
                self.http,
                "POST",
                f"http://{address}/v1/completions",
                started + PROBE_SECONDS,
                body=body,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Temporary(told(error)) from error
        if answer.status_code != 200:
            raise Temporary(f"it answered {answer.status_code}", status=answer.status_code)
        return read_answer(answer, (time.monotonic() - started) * 1000)


def read_answer(answer: httpx.Response, milliseconds: float) -> OneToken:
    try:
        found = read(answer, Completion)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Permanent("it answered 200 with what is no completion") from error
    if found.usage is None or not found.choices:
        raise Permanent("it answered 200 with what is no completion")
    return OneToken(
        fingerprint=found.system_fingerprint or "",
        prompt_tokens=found.usage.prompt_tokens or 0,
        completion_tokens=found.usage.completion_tokens or 0,
        finish_reason=found.finish_reason,
        milliseconds=milliseconds,
    )


def told(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return str(error) or type(error).__name__
