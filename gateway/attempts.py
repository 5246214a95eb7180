"""How an attempt at an engine fails: the client's fault, a full engine, a broken one."""

from __future__ import annotations

import aiohttp
import orjson

from gateway import errors
from gateway.contract.outcomes import Reason
from gateway.contract.routing import Endpoint
from gateway.errors import Refusal

REFUSED_BY_ENGINE = frozenset({400, 413, 422})
FULL = frozenset({429, 503})  # of a platform that others run, of vLLM
SHUT_DOWN = b"cannot schedule new futures after shutdown"
BROKEN = (aiohttp.ClientError, OSError)  # of the connection or of HTTP on it
BROKE = "The connection to the engine broke."


class AttemptError(Exception):
    """An attempt ended before the first byte: another endpoint may still answer.

    `refusal` is what the client gets when no other attempt is made. `is_stale`: the connection
    broke, as idle ones do when an engine closes them, or did not come about in time, so even the
    same endpoint may answer.
    `at`: where, if it was not the endpoint that was to answer.
    """

    def __init__(
        self,
        refusal: Refusal,
        *,
        is_unreachable: bool = False,
        is_stale: bool = False,
        at: Endpoint | None = None,
    ) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.is_unreachable, self.is_stale = is_unreachable, is_stale
        self.at = at


def broken(error: Exception, *, at: Endpoint | None = None) -> AttemptError:
    """A connection that broke before the first byte, or never came about.

    Of a node that was lost nothing refuses. It is asked again where there is no other: a process
    that was busy for so long passes for that as well.
    """
    is_silent = isinstance(error, aiohttp.ConnectionTimeoutError)
    is_refused = isinstance(error, aiohttp.ClientConnectorError)
    text = "The engine did not take a connection." if is_silent else BROKE
    return AttemptError(
        errors.upstream_failed(text),
        is_unreachable=is_silent or is_refused,
        is_stale=not is_refused,
        at=at,
    )


def engine_refusal(status: int, body: bytes, *, at: Endpoint | None = None) -> Exception:
    """Sort an engine's error: the client's fault, a full engine, or a broken one."""
    if status in REFUSED_BY_ENGINE:
        message = _engine_message(body) or f"The engine refused the request with {status}."
        return Refusal(status, "invalid_request", message, reason=Reason.ENGINE_REFUSED)
    if status in FULL:
        return AttemptError(errors.shed("The engines are full.", Reason.POOL_FULL), at=at)
    refusal = errors.upstream_failed(f"The engine answered {status}.")
    if SHUT_DOWN in body:
        return AttemptError(refusal, is_unreachable=True, at=at)
    return refusal


def _engine_message(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
