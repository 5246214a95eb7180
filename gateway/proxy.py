"""Send one attempt to an engine and pass its answer on.

The commit point is the first byte of the answer's body. Before it another endpoint may be tried;
after it, never. An engine whose drain ran out stays silent and leaves its sockets open, so
silence has a deadline of its own.
"""

from __future__ import annotations

import asyncio

import aiohttp

from gateway import errors
from gateway.attempts import BROKEN, AttemptError, broken, engine_refusal
from gateway.client import JSON_TYPE, Receiver
from gateway.contract.outcomes import CLASS_RANK, Outcome, Reason
from gateway.contract.routing import Service
from gateway.errors import Headers
from gateway.exchange import Exchange
from gateway.handover import handed, prefill, reading
from gateway.normalise import Asked, cache_salt, encode
from gateway.pools import Seat
from gateway.stream import BAD_ENDS, BrokenAnswerError, Observed, StreamReader, read_whole

CONNECT_SECONDS = 2.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024


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
            # What a service needed to wake is not taken from the time of the answer.
            limit = exchange.started + exchange.waking + service.request_seconds
            async with asyncio.timeout_at(limit):
                body = await self._body(exchange, asked, seat, timeout)
                async with self._session.post(
                    f"http://{seat.endpoint.address}{asked.path}",
                    data=body,
                    headers={"content-type": "application/json", "x-request-id": exchange.id},
                    timeout=timeout,
                    allow_redirects=False,
                ) as response:
                    await self._answer(exchange, client, asked, response)
        except aiohttp.ConnectionTimeoutError as error:
            raise broken(error) from error
        except TimeoutError:
            text = f"The engine sent nothing for {silence:g} s, or not all in time."
            refusal = errors.upstream_timeout(text)
            raise refusal if exchange.has_bytes else AttemptError(refusal) from None
        except BROKEN as error:
            failure = broken(error)
            raise (failure.refusal if exchange.has_bytes else failure) from error
        except BrokenAnswerError as error:
            raise errors.upstream_failed(f"The engine's answer is broken: {error}.") from error

    async def _body(
        self, exchange: Exchange, asked: Asked, seat: Seat, timeout: aiohttp.ClientTimeout
    ) -> bytes:
        """For the engine that answers; where another one reads the prompt, after it has."""
        tenant = exchange.context.tenant
        salt = cache_salt(self._secret, tenant.salt_epoch, tenant.id, asked.model)
        rank = CLASS_RANK[exchange.traffic_class] if seat.pool.priority_scheduling else None
        # Several prompts or outputs are several requests in the engine: it reads them itself.
        if seat.prefill is None or asked.choices > 1:
            return encode(asked, salt=salt, priority=rank)
        first = encode(reading(asked), salt=salt, priority=rank)
        read = await prefill(self._session, seat.prefill, asked.path, first, exchange.id, timeout)
        if read.blocks is not None:
            exchange.observed.found_cached = read.cached
        return encode(handed(asked, read.blocks), salt=salt, priority=rank)

    async def _answer(
        self,
        exchange: Exchange,
        client: Receiver,
        asked: Asked,
        response: aiohttp.ClientResponse,
    ) -> None:
        if response.status != 200:
            raise engine_refusal(response.status, await _read_all(response))
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
