"""The watch loop against an API server that lets watches expire."""

import asyncio
import contextlib
import json

from sandbox.cluster.kube import Access, AsyncKube
from sandbox.engines.standin.http import Connection, Request, Server

ITEM = {"metadata": {"name": "a", "uid": "1", "resourceVersion": "5"}}
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


class Expiring:
    """First watch: an event, then 410 in the stream; second: 410 as status; third: works."""

    def __init__(self) -> None:
        self.lists = self.watches = 0

    async def handle(self, request: Request, conn: Connection) -> None:
        # The little server cuts the query off; the loop tells list and watch by their order.
        if self.lists == self.watches:
            self.lists += 1
            page = {"metadata": {"resourceVersion": str(self.lists * 10)}, "items": [ITEM]}
            conn.respond(200, json.dumps(page).encode())
            return
        self.watches += 1
        if self.watches == 2:
            conn.respond(410, json.dumps(GONE).encode())
            return
        conn.start_stream()
        conn.chunk(json.dumps({"type": "MODIFIED", "object": ITEM}).encode() + b"\n")
        if self.watches == 1:
            conn.chunk(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
            conn.end_stream()
        else:
            await asyncio.Event().wait()


async def test_it_lists_again_after_each_expired_watch():
    stub = Expiring()
    server = Server(stub.handle)
    port = await server.start("127.0.0.1", 0)
    kube = AsyncKube(Access(f"http://127.0.0.1:{port}", ""))
    lists: list[int] = []
    events: list[str] = []
    following = asyncio.create_task(
        kube.follow("/api/v1/pods", lambda i: lists.append(len(i)), lambda k, _: events.append(k))
    )
    async with asyncio.timeout(10):
        while len(events) < 2:
            await asyncio.sleep(0.02)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    server.stop_listening()
    await kube.close()
    assert (lists, events) == ([1, 1, 1], ["MODIFIED", "MODIFIED"])
