"""Refusals: one class, in the error form that OpenAI clients read.

429 means "you", 503 means "us". The official clients retry 408, 409, 429 and 5xx twice unless
`x-should-retry` says no, so each refusal states whether trying again can help.
"""

from __future__ import annotations

import random

import orjson

from gateway.contract.outcomes import Outcome, Reason

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """The request ends here. `retry_ms`: when it may succeed; None: the same request never will."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        outcome: Outcome = Outcome.REJECTED,
        reason: Reason = Reason.INVALID,
        kind: str = "invalid_request_error",
        param: str | None = None,
        retry_ms: int | None = None,
        allowed: str = "",  # methods, where another one was used
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.outcome, self.reason = outcome, reason
        self.kind, self.param, self.retry_ms = kind, param, retry_ms
        self.allowed = allowed

    def body(self) -> bytes:
        return error_body(self.message, kind=self.kind, code=self.code, param=self.param)

    def headers(self) -> Headers:
        headers: Headers = [(b"x-gw-reason", self.reason.encode())]
        if self.allowed:
            headers.append((b"allow", self.allowed.encode()))
        if self.retry_ms is not None:
            headers.append((b"retry-after", b"%d" % max(1, -(-self.retry_ms // 1000))))
            headers.append((b"retry-after-ms", b"%d" % self.retry_ms))
        if self.status == 429 or self.status >= 500:
            headers.append((b"x-should-retry", b"true" if self.retry_ms is not None else b"false"))
        return headers


def error_body(message: str, *, kind: str, code: str, param: str | None = None) -> bytes:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})


def invalid(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, "invalid_request", message, param=param)


def unauthenticated(message: str, reason: Reason = Reason.AUTH) -> Refusal:
    return Refusal(401, "invalid_api_key", message, reason=reason, kind="authentication_error")


def forbidden(message: str, reason: Reason) -> Refusal:
    return Refusal(403, reason.value, message, reason=reason, kind="permission_error")


def unknown_model(name: str) -> Refusal:
    return Refusal(
        404,
        "model_not_found",
        f"The model {name!r} does not exist or is not granted to you.",
        reason=Reason.UNKNOWN_MODEL,
        param="model",
    )


def too_large(limit: int) -> Refusal:
    message = f"The request body is larger than {limit} bytes."
    return Refusal(413, "request_too_large", message, reason=Reason.TOO_LARGE)


def limited(message: str, reason: Reason, retry_ms: int | None) -> Refusal:
    return Refusal(
        429,
        "rate_limit_exceeded",
        message,
        reason=reason,
        kind="rate_limit_error",
        retry_ms=retry_ms,
    )


def over_budget(message: str) -> Refusal:
    return Refusal(
        429, "insufficient_quota", message, reason=Reason.BUDGET, kind="insufficient_quota"
    )


def unverifiable() -> Refusal:
    return Refusal(
        503,
        "budget_unverifiable",
        "Your budget cannot be verified at the moment; nothing was spent. Try again soon.",
        reason=Reason.BUDGET_UNVERIFIABLE,
        kind="server_error",
        retry_ms=jittered(2000),
    )


def shed(message: str, reason: Reason, retry_ms: int = 1000) -> Refusal:
    return Refusal(
        503,
        "overloaded",
        message,
        outcome=Outcome.SHED,
        reason=reason,
        kind="server_error",
        retry_ms=jittered(retry_ms),
    )


def gateway_full() -> Refusal:
    message = "The gateway is full, or your requests hold as much of it as is left for others."
    return shed(message, Reason.GATEWAY_FULL)


def queue_timeout(waited_ms: int) -> Refusal:
    return Refusal(
        503,
        "queue_timeout",
        f"No engine became free within {waited_ms} ms.",
        outcome=Outcome.TIMED_OUT,
        reason=Reason.QUEUE_TIME,
        kind="server_error",
        retry_ms=jittered(1000),
    )


def asleep(message: str, outcome: Outcome, reason: Reason, seconds: float) -> Refusal:
    """The service slept. `seconds`: when it may answer; sooner there is nobody to ask."""
    return Refusal(
        503,
        "model_waking",
        message,
        outcome=outcome,
        reason=reason,
        kind="server_error",
        retry_ms=int(1000 * seconds * random.uniform(1.0, 1.25)),
    )


def upstream_timeout(message: str) -> Refusal:
    return Refusal(
        504,
        "upstream_timeout",
        message,
        outcome=Outcome.TIMED_OUT,
        reason=Reason.UPSTREAM_TIME,
        kind="server_error",
        retry_ms=jittered(1000),
    )


def upstream_failed(message: str, reason: Reason = Reason.UPSTREAM_ERROR) -> Refusal:
    return Refusal(
        502,
        "upstream_error",
        message,
        outcome=Outcome.FAILED,
        reason=reason,
        kind="server_error",
        retry_ms=jittered(500),
    )


def internal() -> Refusal:
    """A fault of the gateway itself: the same request would meet it again."""
    return Refusal(
        500,
        "internal_error",
        "The gateway failed at this request; its log says why, under the request's id.",
        outcome=Outcome.FAILED,
        reason=Reason.INTERNAL,
        kind="server_error",
    )


def jittered(milliseconds: int) -> int:
    """Spread a wait over 50 % to 150 %, or all that were shed come back at once."""
    return int(milliseconds * random.uniform(0.5, 1.5))
