"""A request from outside: what the client gets, what the engine sees, what is billed."""

import asyncio
from datetime import UTC, datetime

import msgspec
import openai
import pytest

from billing.rules.events import Accepted, read_event
from gateway.contract import keys
from gateway.contract.policy import DataPolicy
from tests.gateway.engines import CACHED_TOKENS, PROMPT_TOKENS
from tests.gateway.fleet import (
    ACME_KEY,
    BATCH_KEY,
    EXPIRED_KEY,
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


@pytest.fixture
async def engine(fleet):
    engine = await fleet.add_engine()
    fleet.publish(routing=make_routing(make_service(make_pool("a", engine.address))))
    return engine


async def test_it_answers_a_chat_and_records_one_event(fleet, engine):
    await fleet.start()
    status, headers, body = await fleet.post(chat())
    assert status == 200, body
    answer = msgspec.json.decode(body)
    assert answer["usage"]["completion_tokens"] == 5
    (event,) = await fleet.events(1)
    assert event["request_id"] == headers["x-request-id"] == engine.ids[0]
    assert headers["x-gw-pool"] == "a" and headers["x-gw-release"] == "rel-a"
    assert event["outcome"] == "served" and event["usage_quality"] == "final"
    assert event["prompt_tokens"] == PROMPT_TOKENS
    assert event["cached_tokens"] == CACHED_TOKENS
    assert event["completion_tokens"] == 5
    assert (event["tenant_id"], event["application_id"], event["credential_id"]) == (1, 10, 1)
    assert (event["service_id"], event["release_id"], event["deployment_id"]) == (7, 6, 5)
    assert event["price_version"] == 3


async def test_it_counts_tokens_against_the_months_budgets_and_refuses_beyond(fleet, engine):
    kinds = ("input_tokens", "output_tokens", "tokens")
    # The answer may have 16 tokens: 5 are used, and then 16 more do not fit into 20.
    limit = make_limit(
        budget_input_tokens=10_000, budget_output_tokens=20, budget_tokens=20_000,
        budget_period="p",
    )  # fmt: skip
    names = [keys.budget(1, 1, "p", kind) for kind in kinds]
    for name in names:
        fleet.store.eval(keys.PUBLISH_BUDGET, 1, name, 0, 1, 3600)
    fleet.publish(make_policy(limits=(limit,)))
    await fleet.start()
    status, _, body = await fleet.post(chat())
    assert status == 200, body
    used = [[b"0", b"%d" % n] for n in (PROMPT_TOKENS, 5, PROMPT_TOKENS + 5)]
    await until(lambda: [fleet.store.hmget(n, "held", "spent") for n in names] == used)
    status, headers, body = await fleet.post(chat())
    assert (status, headers["x-gw-reason"]) == (429, "budget")
    error = msgspec.json.decode(body)["error"]
    assert error["code"] == "insufficient_quota"
    assert "5 of 20 output tokens of the budget" in error["message"]
    assert [fleet.store.hmget(n, "held", "spent") for n in names] == used


async def test_it_serves_the_openai_client(fleet, engine):
    await fleet.start()
    client = openai.AsyncOpenAI(base_url=fleet.url + "/v1", api_key=ACME_KEY, max_retries=0)
    async with client:
        models = [model.id async for model in await client.models.list()]
        assert models == ["tiny"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        for not_granted in ("unknown", "org/unknown"):
            with pytest.raises(openai.NotFoundError, match="not granted to you"):
                await client.models.retrieve(not_granted)
        answer = await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hello"}]
        )
        assert answer.choices[0].message.content.startswith("word")
        stream = await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join([part.choices[0].delta.content or "" async for part in stream])
        assert text == "w1 w2 w3 w4 w5 "
        with pytest.raises(openai.NotFoundError):
            await client.completions.create(model="unknown", prompt="hello")
        await client.completions.create(model="tiny", prompt="hello", max_tokens=3)
    events = await fleet.events(4)
    assert sorted(e["outcome"] for e in events) == ["rejected", "served", "served", "served"]


async def test_it_meters_a_stream_whose_client_wants_no_usage(fleet, engine):
    await fleet.start()
    status, _, body = await fleet.post(chat(stream=True, stream_options={"include_usage": False}))
    assert status == 200 and b"usage" not in body and body.endswith(b"data: [DONE]\n\n")
    (event,) = await fleet.events(1)
    assert event["completion_tokens"] == 5 and event["usage_quality"] == "final"
    assert event["ttft_ms"] > 0 and event["itl_ms"] is not None and event["stream"]


async def test_it_gives_a_stream_the_usage_that_its_client_asked_for(fleet, engine):
    await fleet.start()
    _, _, body = await fleet.post(chat(stream=True, stream_options={"include_usage": True}))
    chunks = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    usages = [msgspec.json.decode(chunk).get("usage") for chunk in chunks]
    assert usages[:-1] == [None] * 5 and usages[-1]["completion_tokens"] == 5


async def test_it_lets_no_tenant_steer_the_engine(fleet, engine):
    await fleet.start()
    forged = {
        "cache_salt": "of the victim",
        "priority": -100,
        "request_id": "mine",
        "session_id": "mine",
        "kv_transfer_params": {"do_remote_prefill": True},
        "vllm_xargs": {"a": 1},
        "logits_processors": ["x"],
        "chat_template": "x",
        "stream_options": {"include_usage": True},
        "stream_interval": 4096,
        "return_prompt_text": True,
    }
    headers = {
        "x-vllm-priority": "-100",
        "x-data-parallel-rank": "1",
        "x-session-id": "mine",
        "x-request-id": "mine",
        "endpoint-load-metrics-format": "JSON",
        "x-tenant-id": "2",
    }
    status, _, _ = await fleet.post(chat(**forged), headers=headers)
    assert status == 200
    seen_headers, seen = engine.requests[0]
    assert set(seen) == {"model", "messages", "max_tokens", "cache_salt"}
    assert seen["cache_salt"] != "of the victim" and len(seen["cache_salt"]) == 43
    assert not set(seen_headers) & (set(headers) - {"x-request-id"})
    assert seen_headers["x-request-id"] != "mine"
    assert "authorization" not in seen_headers
    assert seen_headers["accept-encoding"] == "identity"


async def test_it_refuses_the_same_key_twice(fleet, engine):
    await fleet.start()
    body = b'{"model":"tiny","cache_salt":"a","messages":[{"role":"user","content":"x"}],'
    for twice in (b'"model":"other"}', b'"cache_salt":"b"}', b'"mod\\u0065l":"other"}'):
        status, _, answer = await fleet.post(body + twice)
        assert status == 400 and b"same key twice" in answer
    assert engine.requests == []


async def test_it_salts_by_tenant_and_model(fleet, engine):
    other = make_service(make_pool("o", engine.address), name="other")
    tiny = make_service(make_pool("a", engine.address))
    fleet.publish(routing=make_routing(tiny, other))
    await fleet.start()
    for key, model in ((ACME_KEY, "tiny"), (ACME_KEY, "tiny"), (ACME_KEY, "other")):
        await fleet.post(chat(model=model), key=key)
    await fleet.post(chat(), key=GLOBEX_KEY)
    salts = [body["cache_salt"] for _, body in engine.requests]
    assert salts[0] == salts[1] and len(set(salts)) == 3


BAD = {
    "no JSON": (b"{", 400),
    "not an object": (b"[1]", 400),
    "a model that is no text": (b'{"model":1}', 400),
    "a model with a name too long": (b'{"model":"' + b"x" * 200 + b'"}', 400),
    "a model with NUL in its name": (b'{"model":"tiny\\u0000"}', 400),
    "an unknown model": (b'{"model":"x","messages":[{"role":"user","content":"x"}]}', 404),
    "no messages": (b'{"model":"tiny"}', 400),
    "messages of the wrong type": (b'{"model":"tiny","messages":["x"]}', 400),
    "too many outputs": (
        b'{"model":"tiny","n":1000,"messages":[{"role":"user","content":"x"}]}',
        400,
    ),
    "a stream flag that is no flag": (
        b'{"model":"tiny","stream":"yes","messages":[{"role":"user","content":"x"}]}',
        400,
    ),
    "negative max_tokens": (
        b'{"model":"tiny","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}',
        400,
    ),
    "deep nesting": (b'{"model":"tiny","model":' + b"[" * 3000 + b"]" * 3000 + b"}", 400),
    "deeper than can be written": (
        b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"tools":'
        + b"[" * 400
        + b"]" * 400
        + b"}",
        400,
    ),
    "a huge body": (b'{"model":"tiny","x":"' + b"x" * 9_000_000 + b'"}', 413),
}


async def test_it_refuses_bad_input_with_one_event_each(fleet, engine):
    await fleet.start()
    for name, (body, want_status) in BAD.items():
        status, headers, answer = await fleet.post(body)
        assert status == want_status, (name, answer)
        error = msgspec.json.decode(answer)["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"], name
        assert "x-request-id" in headers, name
    events = await fleet.events(len(BAD))
    assert {event["outcome"] for event in events} == {"rejected"}
    assert engine.requests == []
    now = datetime.now(UTC)
    for event in fleet.door.rows.values():  # the real door takes each
        read = read_event(msgspec.json.encode(event), now)
        assert isinstance(read, Accepted), read


async def test_it_refuses_credentials_that_do_not_count(fleet, engine):
    await fleet.start()
    for key in ("", "qmt_token", "qms_source", "qmk_unknown", EXPIRED_KEY):
        status, _, answer = await fleet.post(chat(), key=key)
        assert status == 401, (key, answer)
    # Only the expired key says whose it is.
    (event,) = await fleet.events(1)
    assert event["reason"] == "expired" and event["tenant_id"] == 1


async def test_it_refuses_two_credentials_at_once(fleet, engine):
    await fleet.start()
    both = [("authorization", f"Bearer {key}") for key in (ACME_KEY, GLOBEX_KEY)]
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
        async with fleet.session.request(
            method, fleet.url + path, json=chat(), headers=both
        ) as answer:
            assert answer.status == 400
            assert "one Authorization header" in (await answer.json())["error"]["message"]
    assert engine.requests == []


async def test_it_refuses_what_is_not_granted(fleet, engine):
    tenants = {1: make_tenant(1, "acme", models=("other",)), 2: make_tenant(2, "globex")}
    narrow = {digest(ACME_KEY): make_key(1, 1), digest(GLOBEX_KEY): make_key(2, 2, scopes=())}
    fleet.publish(make_policy(tenants=tenants, keys=narrow))
    await fleet.start()
    assert (await fleet.post(chat()))[0] == 404
    assert (await fleet.post(chat(), key=GLOBEX_KEY))[0] == 403
    suspended = {1: make_tenant(1, "acme", suspended=True)}
    fleet.publish(make_policy(tenants=suspended, keys={digest(ACME_KEY): make_key(1, 1)}))
    await asyncio.sleep(0.5)
    status, _, body = await fleet.post(chat())
    assert status == 403 and b"suspended" in body


async def test_it_takes_no_higher_class_and_grants_a_lower_one(fleet, engine):
    await fleet.start()
    status, _, _ = await fleet.post(chat(), key=BATCH_KEY, headers={"x-gw-class": "critical"})
    assert status == 403
    status, _, _ = await fleet.post(chat(), headers={"x-gw-class": "batch"})
    assert status == 200
    events = await fleet.events(2)
    assert {event["traffic_class"] for event in events} == {"batch"}


async def test_it_refuses_a_revoked_key_within_five_seconds(fleet, engine):
    await fleet.start()
    assert (await fleet.post(chat()))[0] == 200
    fleet.store.publish("qm:revoked", digest(ACME_KEY))
    for _ in range(50):
        status = (await fleet.post(chat()))[0]
        if status == 401:
            break
        await asyncio.sleep(0.1)
    assert status == 401
    # And without the message, by the snapshot alone.
    fleet.publish(make_policy(keys={}))
    await asyncio.sleep(0.5)
    assert (await fleet.post(chat(), key=GLOBEX_KEY))[0] == 401


async def test_it_keeps_the_last_good_snapshot(fleet, engine):
    await fleet.start()
    fleet.store.set("qm:policy:v99", b'{"version": 99}')
    fleet.store.set("qm:policy:current", 99)
    fleet.store.publish("qm:policy", 99)
    await asyncio.sleep(0.5)
    assert (await fleet.post(chat()))[0] == 200
    assert "refused" in fleet.log()


async def test_it_sends_no_data_where_the_policy_forbids(fleet, engine):
    only_us = {1: make_tenant(1, "acme", data_policy=DataPolicy(residency=("us",)))}
    fleet.publish(make_policy(tenants=only_us, keys={digest(ACME_KEY): make_key(1, 1)}))
    await fleet.start()
    status, headers, body = await fleet.post(chat())
    assert status == 403 and b"data policy" in body and headers["x-gw-reason"] == "policy"
    assert engine.requests == []


async def test_it_says_what_it_is(fleet, engine):
    await fleet.start()
    await fleet.post(chat())
    _, text = await fleet.metrics()
    assert 'qm_gateway_requests_total{outcome="served",reason=""} 1' in text
    assert "acme" not in text and "tiny" not in text
    async with fleet.session.get(fleet.url + "/nothing") as response:
        assert response.status == 404
    for token in ("", "wrong", ACME_KEY):  # a tenant sees nothing of what others do
        assert (await fleet.metrics(token))[0] == 404
    async with fleet.session.get(fleet.url + "/v1/chat/completions") as response:
        assert (response.status, response.headers["allow"]) == (405, "POST")
    name = f"qm:report:test-{fleet.port}-0"
    await until(lambda: b'"a"' in (fleet.store.get(name) or b""))
    report = msgspec.json.decode(fleet.store.get(name))
    assert report["pools"]["a"]["limit"] == 2200 and report["policy_version"] == 1
