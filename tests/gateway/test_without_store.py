"""Redis is gone: weights reach the gateway through the console, or what it knows stays in force."""

import asyncio
import time

import msgspec
from aiohttp import web

from gateway.contract.routing import WORKER_HEADER
from gateway.snapshots import Snapshots
from sandbox.ports import free_port
from tests.gateway.fleet import (
    chat,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    until,
)


class Desk:
    """The console's door for routing."""

    def __init__(self):
        self.snapshot, self.asked, self.workers, self.url = None, [], set(), ""

    async def start(self):
        app = web.Application()
        app.router.add_get("/api/v1/routing/snapshot", self.give)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        port = free_port()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}/api/v1/routing/snapshot"

    async def give(self, request):
        assert request.headers["authorization"] == "Bearer qms_test"
        above = int(request.query["above"])
        self.asked.append(above)
        self.workers.add(request.headers[WORKER_HEADER])
        found = self.snapshot
        raw = msgspec.to_builtins(found) if found.version > above else None
        return web.json_response({"version": found.version, "document": raw})


def weighted(bad, good, *, version, old=0, new=100):
    pools = (
        make_pool("new", bad.address, weight=new, deployment_id=1, release_id=1),
        make_pool("old", good.address, weight=old, deployment_id=2, release_id=2),
    )
    return make_routing(make_service(*pools), version=version)


async def test_weights_reach_a_gateway_without_redis(fleet):
    desk = Desk()
    await desk.start()
    bad, good = await fleet.add_engine(), await fleet.add_engine()
    fleet.environ = {"QM_ROUTING_URL": desk.url}
    fleet.publish(make_policy(), weighted(bad, good, version=1))
    await fleet.start()
    assert (await fleet.post(chat()))[1]["x-gw-release"] == "rel-new"
    cut(fleet)
    try:
        desk.snapshot = weighted(bad, good, version=100, old=100, new=0)
        began = time.monotonic()
        await until(lambda: 100 in desk.asked, 15)
        print(f"taken {time.monotonic() - began:.1f} s after the loss")
        assert desk.asked[:2] == [2, 100]  # by asking for more it says what it applies
        (worker,) = desk.workers
        assert worker.endswith(f"-{fleet.port}-0")
        answers = [await fleet.post(chat()) for _ in range(10)]
        assert [status for status, _, _ in answers] == [200] * 10
        assert {headers["x-gw-release"] for _, headers, _ in answers} == {"rel-old"}
    finally:
        mend(fleet)
        await desk.runner.cleanup()


async def test_a_store_that_is_silent_is_not_waited_for():
    """A machine that is lost refuses nothing: the second question came after 12 s."""
    asked = asyncio.Queue()
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    snapshots = Snapshots(f"redis://127.0.0.1:{port}", max_age=60)
    snapshots.elsewhere = asked.put  # which answers nothing newer
    following = asyncio.create_task(snapshots.follow())
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                assert await asked.get() == 0
    finally:
        following.cancel()
        await snapshots.close()
        silent.close()


async def test_an_older_snapshot_of_a_store_that_is_back_changes_nothing(fleet):
    desk = Desk()
    await desk.start()
    bad, good = await fleet.add_engine(), await fleet.add_engine()
    fleet.environ = {"QM_ROUTING_URL": desk.url}
    fleet.publish(make_policy(), weighted(bad, good, version=1))
    await fleet.start()
    cut(fleet)
    desk.snapshot = weighted(bad, good, version=100, old=100, new=0)
    await until(lambda: 100 in desk.asked, 15)
    mend(fleet)
    await asyncio.sleep(3)
    assert (await fleet.post(chat()))[1]["x-gw-release"] == "rel-old"
    await desk.runner.cleanup()


async def test_without_both_it_goes_around_engines_that_are_gone(fleet):
    bad, good = await fleet.add_engine(), await fleet.add_engine()
    fleet.environ = {"QM_ROUTING_URL": "http://127.0.0.1:1/"}
    fleet.publish(make_policy(), weighted(bad, good, version=1, old=50, new=50))
    await fleet.start()
    cut(fleet)
    try:
        await bad.stop()
        answers = [await fleet.post(chat()) for _ in range(20)]
        assert [status for status, _, _ in answers] == [200] * 20
        assert {headers["x-gw-release"] for _, headers, _ in answers} == {"rel-old"}
    finally:
        mend(fleet)


def cut(fleet):
    """Everybody is dropped and refused, this connection alone is not."""
    fleet.store.config_set("maxclients", 1)
    for kind in ("normal", "pubsub"):
        fleet.store.client_kill_filter(_type=kind, skipme=True)


def mend(fleet):
    fleet.store.config_set("maxclients", 10_000)
