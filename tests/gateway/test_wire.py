"""The connection to the quota store: given up when it is silent, kept while it is slow."""

import asyncio
import contextlib
import time

import hiredis

from gateway.limits.wire import STALL_SECONDS, UnavailableError, Wire


@contextlib.asynccontextmanager
async def connected(pauses):
    """A wire to a store that answers one PING after the other, each after its pause."""

    async def answer(reader, writer):
        commands = hiredis.Reader()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            while data := await reader.read(4096):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if command == [b"PING"]:
                        await asyncio.sleep(next(pauses, 60))
                    writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(f"redis://127.0.0.1:{port}/0", timeout=30)
    task = asyncio.ensure_future(wire.keep_connected())
    await wire.is_connected.wait()
    try:
        yield wire
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server.close()


async def ask(wire, times):
    return await asyncio.gather(*(wire.call("PING") for _ in range(times)), return_exceptions=True)


async def test_a_slow_store_is_waited_for():
    """The last answer comes after 2.4 s, and none more than 0.4 s after the one before."""
    async with connected(iter([0.4] * 6)) as wire:
        assert await ask(wire, 6) == [b"OK"] * 6


async def test_a_silent_store_is_given_up():
    async with connected(iter([0.0])) as wire:
        first, second = await ask(wire, 2)
        assert first == b"OK"
        assert isinstance(second, UnavailableError)


async def test_a_process_that_was_busy_does_not_blame_the_store():
    """A thousand requests at once keep a worker from its sockets for longer than that."""
    async with connected(iter([0.0])) as wire:
        call = asyncio.ensure_future(wire.call("PING"))
        await asyncio.sleep(0)
        time.sleep(STALL_SECONDS + 0.5)
        assert await call == b"OK"
