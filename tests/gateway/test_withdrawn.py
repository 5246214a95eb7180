"""A key that is revoked, a tenant that is suspended: what they have running ends, and is paid."""

import asyncio
import json

import pytest

from tests.gateway.engines import PROMPT_TOKENS
from tests.gateway.fleet import (
    ACME_KEY,
    BATCH_KEY,
    GLOBEX_KEY,
    chat,
    digest,
    make_key,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    make_tenant,
    until,
)


def by_bell(fleet):
    fleet.store.publish("qm:revoked", digest(ACME_KEY))


def by_policy(fleet):
    keys = {digest(key): make_key(n, 2) for n, key in ((2, GLOBEX_KEY), (3, BATCH_KEY))}
    fleet.publish(make_policy(keys=keys))


def by_suspension(fleet):
    tenants = {1: make_tenant(1, "acme", suspended=True), 2: make_tenant(2, "globex")}
    fleet.publish(make_policy(tenants=tenants))


WITHDRAWN = {
    # how: (status, reason, what the client reads)
    by_bell: (401, "auth", "This API key was revoked while the request ran."),
    by_policy: (401, "auth", "This API key was revoked while the request ran."),
    by_suspension: (403, "suspended", "The tenant 'acme' was suspended while the request ran."),
}


async def start(fleet, **fields):
    engine = await fleet.add_engine(**fields)
    fleet.publish(make_policy(limits=(make_limit(concurrency=5),)))
    fleet.publish(routing=make_routing(make_service(make_pool("a", engine.address))))
    await fleet.start()
    return engine


@pytest.mark.parametrize("withdraw", WITHDRAWN)
async def test_it_ends_a_stream_whose_credential_is_withdrawn(fleet, withdraw):
    engine = await start(fleet, tokens=2000, pause=0.02)
    running = asyncio.ensure_future(fleet.post(chat(stream=True, max_tokens=2000)))
    other = asyncio.ensure_future(fleet.post(chat(stream=True, max_tokens=2000), key=GLOBEX_KEY))
    await until(lambda: engine.running == 2)
    await asyncio.sleep(0.3)
    withdraw(fleet)
    status, _, body = await asyncio.wait_for(running, 5)
    _, reason, text = WITHDRAWN[withdraw]
    *_, last = body.strip().split(b"\n\n")
    assert status == 200 and json.loads(last.removeprefix(b"data: "))["error"]["message"] == text
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("cancelled", reason)
    assert (event["http_status"], event["usage_quality"]) == (200, "continuous")
    assert event["prompt_tokens"] == PROMPT_TOKENS and event["completion_tokens"] > 5
    await until(lambda: engine.running == 1)
    await until(lambda: fleet.store.zcard("{t1}:leases:1") == 0)
    assert not other.done()  # nobody else's
    other.cancel()


@pytest.mark.parametrize("withdraw", WITHDRAWN)
async def test_it_answers_with_a_status_what_has_not_begun(fleet, withdraw):
    engine = await start(fleet, go_on=asyncio.Event())
    running = asyncio.ensure_future(fleet.post(chat()))
    await until(lambda: engine.running == 1)
    withdraw(fleet)
    status, headers, body = await asyncio.wait_for(running, 5)
    want, reason, text = WITHDRAWN[withdraw]
    assert (status, headers["x-gw-reason"]) == (want, reason)
    assert json.loads(body)["error"]["message"] == text
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("cancelled", reason)
    assert event["usage_quality"] == "estimated" and event["prompt_tokens"] > 0
    await until(lambda: engine.running == 0)


async def test_it_takes_no_body_that_comes_after_its_key_was_revoked(fleet):
    engine = await start(fleet)
    begun = asyncio.Event()

    async def dawdle():
        yield b'{"model": "tiny", '
        begun.set()
        await asyncio.sleep(2)
        yield b'"prompt": "hello"}'

    sent = {"authorization": f"Bearer {ACME_KEY}"}
    answer = asyncio.ensure_future(
        fleet.session.post(fleet.url + "/v1/completions", data=dawdle(), headers=sent)
    )
    await begun.wait()
    await asyncio.sleep(0.3)
    by_bell(fleet)
    async with await asyncio.wait_for(answer, 10) as response:
        assert response.status == 401
    assert not engine.requests


async def test_a_key_that_expires_lets_what_it_began_end(fleet):
    engine = await start(fleet, go_on=asyncio.Event())
    running = asyncio.ensure_future(fleet.post(chat()))
    await until(lambda: engine.running == 1)
    fleet.publish(make_policy(keys={digest(ACME_KEY): make_key(1, 1, expires_at=1.0)}))
    await asyncio.sleep(0.5)
    assert (await fleet.post(chat()))[0] == 401
    engine.go_on.set()
    assert (await running)[0] == 200
