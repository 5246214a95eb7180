"""Clients that never come to the point: heads that do not end, too slow or too long."""

import asyncio
import contextlib

import pytest
import uvicorn

from gateway import protocol
from tests.gateway.fleet import chat, make_pool, make_routing, make_service

OK = [(b"content-length", b"2")]
MEGABYTE = b"a" * 1024 * 1024


async def app(scope, receive, send):
    """Answers before it has read the body, as a refusal does."""
    await send({"type": "http.response.start", "status": 200, "headers": OK})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def door():
    config = uvicorn.Config(app, http=protocol.Protocol, lifespan="off", log_config=None, port=0)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        server.should_exit = True
        await task


async def read(reader, seconds=5):
    """All that comes until the door closes."""
    async with asyncio.timeout(seconds):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def pour(writer, most=20):
    """Send a megabyte and another one, until nobody takes it. Answers how many were sent."""
    for number in range(most):
        try:
            writer.write(MEGABYTE)
            async with asyncio.timeout(5):
                await writer.drain()
        except (ConnectionError, TimeoutError):
            return number
    return most


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n"])
async def test_it_closes_on_a_head_that_does_not_come(monkeypatch, sent):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with door() as (reader, writer):
        writer.write(sent)
        assert await read(reader) == b""


async def test_it_closes_on_a_client_that_dribbles_after_its_answer(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with door() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")
        ended = asyncio.ensure_future(read(reader))
        for _ in range(20):
            writer.write(b"a")
            await asyncio.sleep(0.05)
        assert ended.done()


async def test_it_keeps_a_connection_that_asks_again(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with door() as (reader, writer):
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
            await asyncio.sleep(0.05)
            writer.write(b"hello")
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\nok")
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert reader.at_eof()  # after a body that came late it may not be idle for long


ENDLESS = {
    "a header": b"GET / HTTP/1.1\r\nhost: a\r\nx: ",
    "an address": b"GET /",
    "a trailer": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
}


@pytest.mark.parametrize("begins", ENDLESS.values(), ids=ENDLESS)
async def test_it_keeps_no_endless(begins):
    async with door() as (_, writer):
        writer.write(begins)
        assert await pour(writer) < 20


async def test_it_takes_a_body_in_small_pieces():
    async with door() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(64):
            writer.write((b"400\r\n" + b"a" * 1024 + b"\r\n") * 64)
            await writer.drain()
        writer.write(b"0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
        async with asyncio.timeout(5):
            for _ in range(2):
                await reader.readuntil(b"\r\n\r\nok")


async def test_the_gateway_keeps_no_endless_head(fleet):
    engine = await fleet.add_engine()
    fleet.publish(routing=make_routing(make_service(make_pool("a", engine.address))))
    await fleet.start()
    _, writer = await asyncio.open_connection("127.0.0.1", fleet.port)
    writer.write(ENDLESS["a header"])
    assert await pour(writer, 50) < 50
    writer.transport.abort()
    assert (await fleet.post(chat()))[0] == 200
