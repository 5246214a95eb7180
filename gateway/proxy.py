"""Send one attempt to an engine and pass its answer on.

The commit point is the first byte of the answer's body. Before it another endpoint may be tried;
after it, never. An engine whose drain ran out stays silent and leaves its sockets open, so
silence has a deadline of its own.
"""

from __future__ import annotations

import asyncio

import aiohttp
import orjson

from gateway import errors
from gateway.client import JSON_TYPE, Receiver
from gateway.contract.outcomes import CLASS_RANK, Outcome, Reason
from gateway.contract.routing import Service
from gateway.errors import Headers, Refusal
from gateway.exchange import Exchange
from gateway.normalise import Asked, cache_salt, encode
from gateway.pools import Seat
from gateway.stream import BAD_ENDS, BrokenAnswerError, Observed, StreamReader, read_whole

CONNECT_SECONDS = 2.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
REFUSED_BY_ENGINE = frozenset({400, 413, 422})
SHUT_DOWN = b"cannot schedule new futures after shutdown"
BROKEN = (aiohttp.ClientError, OSError)  # of the connection or of HTTP on it


class AttemptError(Exception):
    """An attempt ended before the first byte: another endpoint may still answer.

    `refusal` is what the client gets when no other attempt is made. `is_stale`: the connection
    broke, as idle ones do when an engine closes them, so even the same endpoint may answer.
    """

    def __init__(
        self, refusal: Refusal, *, is_unreachable: bool = False, is_stale: bool = False
    ) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.is_unreachable, self.is_stale = is_unreachable, is_stale


class Proxy:
    def __init__(self, session: aiohttp.ClientSession, salt_secret: bytes) -> None:
        self._session = session
        self._secret = salt_secret

    async def attempt(
        self, exchange: Exchange, client: Receiver, asked: Asked, service: Service, seat: Seat
    ) -> None:
        """Run one attempt to its end, or raise AttemptError (another may follow) or Refusal."""
        loop = asyncio.get_running_loop()
        exchange.dispatched(loop.time())
        silence = service.chunk_seconds if asked.stream else service.request_seconds
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=CONNECT_SECONDS,
            sock_read=min(silence, service.request_seconds),
        )
        try:
            async with (
                # What a service needed to wake is not taken from the time of the answer.
                asyncio.timeout_at(exchange.started + exchange.waking + service.request_seconds),
                self._session.post(
                    f"http://{seat.endpoint.address}{asked.path}",
                    data=self._body(exchange, asked, seat),
                    headers={"content-type": "application/json", "x-request-id": exchange.id},
                    timeout=timeout,
                    allow_redirects=False,
                ) as response,
            ):
                await self._answer(exchange, client, asked, response)
        except TimeoutError:
            text = f"The engine sent nothing for {silence:g} s, or not all in time."
            refusal = errors.upstream_timeout(text)
            raise refusal if exchange.has_bytes else AttemptError(refusal) from None
        except BROKEN as error:
            refusal = errors.upstream_failed("The connection to the engine broke.")
            if exchange.has_bytes:
                raise refusal from error
            unreachable = isinstance(error, aiohttp.ClientConnectorError)
            raise AttemptError(
                refusal, is_unreachable=unreachable, is_stale=not unreachable
            ) from error
        except BrokenAnswerError as error:
            raise errors.upstream_failed(f"The engine's answer is broken: {error}.") from error

    def _body(self, exchange: Exchange, asked: Asked, seat: Seat) -> bytes:
        tenant = exchange.context.tenant
        salt = cache_salt(self._secret, tenant.salt_epoch, tenant.id, asked.model)
        rank = CLASS_RANK[exchange.traffic_class] if seat.pool.priority_scheduling else None
        return encode(asked, salt=salt, priority=rank)

    async def _answer(
        self,
        exchange: Exchange,
        client: Receiver,
        asked: Asked,
        response: aiohttp.ClientResponse,
    ) -> None:
        if response.status != 200:
            raise _engine_refusal(response.status, await _read_all(response))
        if asked.stream:
            await self._stream(exchange, client, asked, response)
        else:
            await self._whole(exchange, client, response)

    async def _whole(
        self, exchange: Exchange, client: Receiver, response: aiohttp.ClientResponse
    ) -> None:
        body = await _read_all(response, exchange)
        observed = exchange.observed
        read_whole(observed, body)
        _check_end(observed)
        exchange.answer()
        exchange.report()
        await client.answer(200, body, [JSON_TYPE, *answer_headers(exchange)])

    async def _stream(
        self,
        exchange: Exchange,
        client: Receiver,
        asked: Asked,
        response: aiohttp.ClientResponse,
    ) -> None:
        observed, now = exchange.observed, asyncio.get_running_loop().time
        reader = StreamReader(
            observed,
            wants_usage=asked.wants_usage,
            wants_continuous_usage=asked.wants_continuous_usage,
        )
        while data := await response.content.readany():
            exchange.has_bytes = True
            passed = reader.feed(data, now())
            if reader.is_done:
                # Clients hang up at [DONE]: the record is older than that byte.
                _end_stream(exchange, observed)
                exchange.report()
            if passed and not client.is_started:
                await client.start(200, [*STREAM_HEADERS, *answer_headers(exchange)])
            await client.write(passed)
        if not reader.is_done:
            if not observed.error:
                raise errors.upstream_failed("The engine's stream ended before its end.")
            _end_stream(exchange, observed)
            exchange.report()
        await client.finish()


STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


def answer_headers(exchange: Exchange) -> Headers:
    headers: Headers = [(b"x-request-id", exchange.id.encode())]
    if exchange.seat is not None:
        headers.append((b"x-gw-pool", exchange.seat.pool.id.encode()))
        headers.append((b"x-gw-release", exchange.seat.pool.release.encode()))
    if exchange.rerouted_from:
        headers.append((b"x-gw-rerouted-from", exchange.rerouted_from.encode()))
    if exchange.degraded:
        headers.append((b"x-gw-degraded", exchange.degraded.encode()))
    return headers


async def _read_all(response: aiohttp.ClientResponse, exchange: Exchange | None = None) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := await response.content.readany():
        if exchange is not None:
            exchange.has_bytes = True
        size += len(data)
        if size > MAX_ANSWER_BYTES:
            raise BrokenAnswerError(f"longer than {MAX_ANSWER_BYTES} bytes")
        parts.append(data)
    return b"".join(parts)


def _check_end(observed: Observed) -> None:
    if observed.error:
        raise errors.upstream_failed(f"The engine failed: {observed.error}")
    if observed.finish_reason in BAD_ENDS:
        raise errors.upstream_failed("The engine gave the request up.", Reason.UPSTREAM_ABORT)


def _end_stream(exchange: Exchange, observed: Observed) -> None:
    """The client has all bytes already; what they mean decides the outcome."""
    if observed.error:
        exchange.end(Outcome.FAILED, Reason.UPSTREAM_ERROR, 200)
    elif observed.finish_reason in BAD_ENDS:
        exchange.end(Outcome.FAILED, Reason.UPSTREAM_ABORT, 200)
    else:
        exchange.answer()


def _engine_refusal(status: int, body: bytes) -> Exception:
    """Sort an engine's error: the client's fault, a full engine, or a broken one."""
    if status in REFUSED_BY_ENGINE:
        message = _engine_message(body) or f"The engine refused the request with {status}."
        return Refusal(status, "invalid_request", message, reason=Reason.ENGINE_REFUSED)
    if status == 503:
        return AttemptError(errors.shed("The engines are full.", Reason.POOL_FULL))
    refusal = errors.upstream_failed(f"The engine answered {status}.")
    if SHUT_DOWN in body:
        return AttemptError(refusal, is_unreachable=True)
    return refusal


def _engine_message(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
