"""The stand-in answers in the form that a client asked for, as vLLM's decoding and parsers do."""

import json

import pytest

from sandbox.engines.standin.shaped import instance_of
from tests.engine.test_standin import engine, events

CHAT = "/v1/chat/completions"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": CITY}}
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}


async def whole(http, **asked):
    answer = (await http.post(CHAT, json=BODY | asked)).json()
    choice = answer["choices"][0]
    return choice["message"], choice["finish_reason"], choice["stop_reason"], answer["usage"]


async def test_it_answers_by_a_schema():
    async with engine() as (_, http):
        message, reason, _, usage = await whole(http, response_format=FORMAT)
        assert (json.loads(message["content"]), reason) == ({"city": "x"}, "stop")
        assert usage["completion_tokens"] == 4
        message, reason, *_ = await whole(http, response_format=FORMAT, max_tokens=2)
        assert (message["content"], reason) == ('{"city":', "length")


async def test_it_calls_the_tool_that_it_is_given():
    async with engine() as (_, http):
        message, reason, *_ = await whole(http, tools=TOOLS)
        called = message["tool_calls"][0]["function"]
        assert (called["name"], json.loads(called["arguments"])) == ("weather", {"city": "x"})
        assert (message["content"], reason) == (None, "tool_calls")
        message, reason, *_ = await whole(http, tools=TOOLS, tool_choice="none")
        assert "tool_calls" not in message


async def test_it_ends_before_a_stop_word():
    async with engine() as (_, http):
        message, *rest, usage = await whole(http, stop=["k3", "nowhere"])
        assert (message["content"], rest) == (" tok0 tok1 tok2 to", ["stop", "k3"])
        assert usage["completion_tokens"] == 4
        answer = await http.post(CHAT, json=BODY | {"stop": "k3", "stream": True})
        texts = [c["delta"]["content"] for e in events(answer) for c in e["choices"]]
        assert "".join(texts) == message["content"]


async def test_it_takes_no_notice_of_any_form_when_loose():
    async with engine("--loose", "--max-model-len", "100") as (_, http):
        for asked in ({"response_format": FORMAT}, {"tools": TOOLS}, {"stop": ["k3"]}):
            message, reason, *_ = await whole(http, **asked)
            assert message["content"].startswith(" tok0 tok1 tok2 tok3 tok4")
            assert reason == "length"
        long = {"model": "tiny", "prompt": [1] * 101, "max_tokens": 1}
        assert (await http.post("/v1/completions", json=long)).status_code == 200


async def test_it_refuses_a_form_of_another_type():
    async with engine() as (_, http):
        for asked in (
            {"tools": [{}]},
            {"tools": ["x"]},
            {"response_format": {"type": "json_schema"}},
        ):
            assert (await http.post(CHAT, json=BODY | asked)).status_code == 400


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 5}, 5),
        ({"type": "array", "items": {"type": "integer", "minimum": 3}, "minItems": 2}, [3, 3]),
        ({"type": ["string", "null"], "minLength": 3}, "xxx"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "number"}}}, 0),
        ({"$ref": "#", "type": "object"}, None),
    ],
)
def test_it_makes_the_smallest_value_of_a_schema(schema, value):
    assert instance_of(schema) == value
