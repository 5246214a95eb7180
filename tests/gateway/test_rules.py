"""The parts of the gateway that only think."""

import msgspec
import orjson
import pytest

from gateway.attempts import AttemptError, engine_refusal
from gateway.contract.outcomes import Reason, TrafficClass, UsageQuality
from gateway.contract.policy import DataPolicy, Price
from gateway.errors import Refusal
from gateway.estimate import Estimator
from gateway.limits.limiter import cost_micros
from gateway.normalise import (
    CHAT,
    TEXT,
    cache_salt,
    encode,
    has_duplicate_keys,
    normalise,
    read_model,
)
from gateway.settings import SettingsError, read_settings
from gateway.snapshots import BrokenSnapshotError, Routing, decode_policy, decode_routing
from gateway.stream import BrokenAnswerError, Observed, StreamReader, read_whole
from tests.gateway.fleet import chat, make_limit, make_policy, make_pool, make_routing, make_service

SERVICE = make_service(max_model_len=100, default_max_tokens=20)


def ask(body, path=CHAT, raw_bytes=1000):
    return normalise(path, body, raw_bytes, SERVICE)


DUPLICATES = {
    "none": (b'{"a":1,"b":2}', False),
    "plain": (b'{"a":1,"a":2}', True),
    "with space": (b'{"a" : 1, "a" :2}', True),
    "escaped": (b'{"a":1,"\\u0061":2}', True),
    "nested only": (b'{"a":{"x":1,"x":2}}', False),
    "a value that looks like a key": (b'{"a":"a"}', False),
    "a key inside a text": (b'{"a":"\\"a\\": 1"}', False),
    "the same key deeper down": (b'{"a":1,"b":{"a":2}}', False),
    "after a deeper object": (b'{"a":1,"b":{"a":2},"a":3}', True),
}


@pytest.mark.parametrize("name", DUPLICATES)
def test_it_sees_a_key_twice(name):
    raw, want = DUPLICATES[name]
    assert has_duplicate_keys(raw, orjson.loads(raw)) is want


def test_it_reads_no_body_of_any_number_of_members():
    """Each is looked for in the whole of it: a megabyte of them kept a worker busy for minutes."""
    body = {"model": "tiny"} | {f"k{number}": 1 for number in range(100_000)}
    with pytest.raises(Refusal, match="more than 200 members"):
        read_model(orjson.dumps(body))
    some = {"model": "tiny"} | {f"k{number}": 1 for number in range(199)}
    assert read_model(orjson.dumps(some)) == (some, "tiny")


OUTPUT_BOUNDS = {
    "missing is injected": ({}, 20, ()),
    "null is missing": ({"max_tokens": None}, 20, ()),
    "small stays": ({"max_tokens": 7}, 7, ()),
    "large is capped": ({"max_tokens": 1000}, 100, ("max_tokens_capped",)),
    "the new name counts": ({"max_completion_tokens": 9}, 9, ()),
    "the smaller of both": ({"max_tokens": 5, "max_completion_tokens": 9}, 5, ()),
}


@pytest.mark.parametrize("name", OUTPUT_BOUNDS)
def test_it_bounds_the_output(name):
    fields, want, want_modifiers = OUTPUT_BOUNDS[name]
    body = chat()
    del body["max_tokens"]
    asked = ask(body | fields)
    assert asked.max_tokens == asked.body["max_tokens"] == want
    assert "max_completion_tokens" not in asked.body and asked.modifiers == want_modifiers


PROMPTS = {
    "a text": ("hello", 1, 0),
    "texts": (["a", "b", "c"], 3, 0),
    "token ids": ([1, 2, 3], 1, 3),
    "lists of token ids": ([[1, 2], [3]], 2, 3),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_it_counts_prompts(name):
    prompt, want_choices, want_ids = PROMPTS[name]
    asked = ask({"model": "tiny", "prompt": prompt, "n": 2}, TEXT)
    assert (asked.choices, asked.prompt_token_ids) == (want_choices * 2, want_ids)


@pytest.mark.parametrize("prompt", [None, "", [], [1, "a"], {"a": 1}, [True], [[1], "a"], 5])
def test_it_refuses_a_prompt_of_the_wrong_type(prompt):
    with pytest.raises(Refusal):
        ask({"model": "tiny", "prompt": prompt}, TEXT)


def test_it_asks_every_stream_for_running_usage_and_no_other():
    asked = ask(chat(stream=True, stream_options={"include_usage": False}))
    assert asked.body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert not asked.wants_usage
    assert "stream_options" not in ask(chat(stream_options={"include_usage": True})).body


def test_it_writes_salt_and_priority_over_what_was_sent():
    asked = ask(chat(cache_salt="theirs", priority=-9))
    sent = orjson.loads(encode(asked, salt="ours", priority=2))
    assert (sent["cache_salt"], sent["priority"]) == ("ours", 2)
    assert "priority" not in orjson.loads(encode(asked, salt="ours", priority=None))


def test_it_joins_the_parts_of_a_salt_unambiguously():
    salts = {
        cache_salt(b"s", 1, 1, "1:m"),
        cache_salt(b"s", 1, 11, ":m"),
        cache_salt(b"s", 1, 11, "m"),
        cache_salt(b"s", 2, 11, "m"),
        cache_salt(b"t", 1, 11, "m"),
    }
    assert len(salts) == 5
    assert all(len(salt) == 43 and not set(salt) & set("@/\\\0+=") for salt in salts)


def test_it_learns_how_long_prompts_and_answers_are():
    estimator = Estimator()
    asked = ask(chat(max_tokens=100))
    first = estimator.estimate(asked, 1, 10_000)
    assert (first.prompt, first.output, first.output_bound) == (508, 100, 100)
    for _ in range(20):
        estimator.learn(asked, 1, prompt=250, completion=10)
    later = estimator.estimate(asked, 1, 10_000)
    assert (later.prompt, later.output, later.output_bound) == (258, 13, 100)
    assert estimator.estimate(asked, 2, 10_000).output == 100  # another tenant's are unknown


def test_it_counts_token_ids_instead_of_guessing():
    asked = ask({"model": "tiny", "prompt": [1] * 40}, TEXT)
    assert Estimator().estimate(asked, 1, 100).prompt == 40


def test_it_prices_cached_tokens_apart_and_rounds_up():
    price = Price(version=1, prompt=1_000_000, cached=100_000, completion=2_000_000)
    assert cost_micros(price, prompt=10, cached=4, completion=5) == 17  # 6 + 0.4 + 10
    assert cost_micros(None, prompt=10, cached=4, completion=5) == 0


def stream_of(*chunks):
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)


def chunk(index, completion, **choice):
    usage = {"prompt_tokens": 7, "completion_tokens": completion}
    return {"id": "x", "choices": [{"index": index, **choice}], "usage": usage}


def test_it_reads_a_stream_cut_anywhere():
    raw = stream_of(chunk(0, 1), chunk(0, 3), {"choices": [], "usage": {"prompt_tokens": 7}})
    raw += b": keep alive\n\ndata: [DONE]\n\n"
    whole = StreamReader(Observed(), wants_usage=False, wants_continuous_usage=False)
    want = whole.feed(raw, 0.0)
    assert b"usage" not in want and b": keep alive" in want and whole.is_done
    for size in (1, 2, 3, 7, 50):
        reader = StreamReader(Observed(), wants_usage=False, wants_continuous_usage=False)
        parts = [reader.feed(raw[i : i + size], 0.0) for i in range(0, len(raw), size)]
        assert b"".join(parts) == want and reader.is_done


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_it_reads_the_line_ends_of_other_servers(size):
    raw = stream_of(chunk(0, 1), chunk(0, 3)) + b"data: [DONE]\n\n"
    raw = raw.replace(b"\n", b"\r\n")
    reader = StreamReader(Observed(), wants_usage=False, wants_continuous_usage=False)
    for at in range(0, len(raw), size):
        reader.feed(raw[at : at + size], 0.0)
    assert reader.is_done and reader.observed.completion == 3


def test_it_bills_every_prompt_of_a_cut_stream_whatever_best_of_says():
    asked = ask({"prompt": ["a", "b"], "best_of": 2, "stream": True}, TEXT)
    assert asked.choices == 4
    observed = Observed(outputs_per_prompt=asked.outputs_per_prompt)
    reader = StreamReader(observed, wants_usage=False, wants_continuous_usage=False)
    reader.feed(stream_of(chunk(0, 1), chunk(1, 1)), 1.0)
    assert observed.prompt == 14


def test_it_sums_the_last_value_of_each_output():
    observed = Observed(outputs_per_prompt=2)
    reader = StreamReader(observed, wants_usage=False, wants_continuous_usage=False)
    chunks = [chunk(index, tokens) for tokens in (1, 2, 5) for index in range(4)]
    reader.feed(stream_of(*chunks), 1.0)
    assert (observed.prompt, observed.completion) == (14, 20)  # two prompts of 7, four outputs
    assert observed.quality is UsageQuality.CONTINUOUS


def test_it_keeps_an_explicit_zero():
    observed = Observed()
    read_whole(observed, b'{"usage":{"prompt_tokens":5,"completion_tokens":0},"choices":[]}')
    assert (observed.prompt, observed.completion) == (5, 0)
    assert observed.quality is UsageQuality.FINAL


def test_it_measures_gaps_by_token():
    observed = Observed()
    reader = StreamReader(observed, wants_usage=False, wants_continuous_usage=False)
    for at, tokens in ((1.0, 1), (1.1, 2), (1.5, 6)):
        reader.feed(stream_of(chunk(0, tokens)), at)
    assert observed.first_at == 1.0 and observed.last_at == 1.5
    assert observed.gaps == [pytest.approx(0.1), pytest.approx(0.1)]


ODD = b'{"choices":[null]}', b'{"choices":"none"}'


@pytest.mark.parametrize(
    "raw", [b"data: {\n\n", b"data: 5\n\n", *(b"data: %b\n\n" % odd for odd in ODD)]
)
def test_it_refuses_a_stream_that_is_no_json(raw):
    reader = StreamReader(Observed(), wants_usage=False, wants_continuous_usage=False)
    with pytest.raises(BrokenAnswerError):
        reader.feed(raw, 0.0)


@pytest.mark.parametrize("raw", [b"", b"[]", b"nothing", *ODD])
def test_it_refuses_an_answer_that_is_no_json(raw):
    with pytest.raises(BrokenAnswerError):
        read_whole(Observed(), raw)


def test_it_matches_limits_of_tenant_application_and_model():
    limits = (
        make_limit(1),
        make_limit(2, application_id=10),
        make_limit(3, application_id=20),
        make_limit(4, model="tiny"),
        make_limit(5, model="other"),
        make_limit(6, tenant_id=2),
    )
    policy = decode_policy(orjson.dumps(_plain(make_policy(limits=limits))))
    assert [limit.id for limit in policy.limits(1, 10, "tiny")] == [1, 2, 4]


POLICIES = {
    "anything goes": (DataPolicy(), {"eu", "us", "safe"}),
    "one region": (DataPolicy(residency=("eu",)), {"eu", "safe"}),
    "confidential only": (DataPolicy(confidential_only=True), {"safe"}),
    "hosted allowed": (DataPolicy(hosted_fallback=True), {"eu", "us", "safe", "hosted"}),
    "nowhere": (DataPolicy(residency=("mars",)), set()),
}


@pytest.mark.parametrize("name", POLICIES)
def test_it_leaves_only_pools_that_may_see_the_data(name):
    data_policy, want = POLICIES[name]
    service = make_service(
        make_pool("eu"),
        make_pool("us", region="us"),
        make_pool("safe", confidential=True),
        make_pool("hosted", region="us", hosted=True),
    )
    routing = Routing(make_routing(service))
    assert {pool.id for pool in routing.candidates(service, data_policy)} == want


def _plain(struct):
    return orjson.loads(msgspec.json.encode(struct))


BROKEN = {
    "an unknown schema": {"schema": 2},
    "a key without a tenant": {"tenants": {}},
    "a field of the wrong type": {"version": "new"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_refuses_a_broken_policy(name):
    with pytest.raises(BrokenSnapshotError):
        decode_policy(orjson.dumps(_plain(make_policy()) | BROKEN[name]))


@pytest.mark.parametrize("address", ["nowhere", "host:", ":80", "host:http"])
def test_it_refuses_an_address_that_is_none(address):
    routing = make_routing(make_service(make_pool("a", address)))
    with pytest.raises(BrokenSnapshotError):
        decode_routing(orjson.dumps(_plain(routing)))


def test_it_reads_settings_and_says_what_is_missing(tmp_path):
    with pytest.raises(SettingsError, match="QM_SPOOL_DIR"):
        read_settings({})
    secret = tmp_path / "salt"
    secret.write_text("from a file\n")
    env = {"QM_SPOOL_DIR": str(tmp_path), "QM_SALT_SECRET_FILE": str(secret)}
    settings = read_settings(env | {"QM_CONSOLE_URL": "http://console/"})
    assert settings.salt_secret == b"from a file"
    assert settings.ingest_url == "http://console/api/v1/usage/events"
    with pytest.raises(SettingsError, match="whole number"):
        read_settings(env | {"QM_GATEWAY_PORT": "http"})


def test_it_knows_every_class():
    assert set(SERVICE.objectives) == set(TrafficClass)


@pytest.mark.parametrize("status", [429, 503])
def test_an_engine_that_is_full_lets_another_answer(status):
    """A platform that others run says 429 where vLLM says 503: nothing was computed."""
    found = engine_refusal(status, b"")
    assert isinstance(found, AttemptError)
    assert (found.refusal.status, found.refusal.reason) == (503, Reason.POOL_FULL)
