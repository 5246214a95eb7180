"""Recorded prompts: which sets are refused, and what counts as kept."""

import json
import time

import pytest

from fleet.rules.contract.answers import SHOWN, Said, judge
from fleet.rules.contract.patterns import refuse_pattern, refuse_schema
from fleet.rules.contract.prompts import (
    LONGEST,
    MOST,
    expectation_of,
    read_contract,
    read_json,
    request_of,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "parameters": CITY}
TEXT = {"name": "capital", "kind": "text", "prompt": "Capital of France?", "contains": ["Paris"]}
JSON = {"name": "as JSON", "kind": "json", "prompt": "Capital?", "schema": CITY}
STOP = {"name": "stops", "kind": "stop", "prompt": "Count", "stop": ["5"]}
CALL = {"name": "calls", "kind": "tool_call", "prompt": "Weather in Paris?", "tool": TOOL}
LONG = {"name": "too long", "kind": "too_long"}
ALL = [TEXT, JSON, STOP, CALL, LONG]


def prompt(given, **changed):
    return read_contract([given | changed])[0]


def said(text="", *, reason="stop", status=200, **message):
    choice = {"message": {"content": text, **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return Said(status, {"choices": [choice], "usage": usage}, 12.34)


def refusal(status, message="This model's maximum context length is 4096 tokens"):
    return Said(status, {"error": {"message": message}})


def call(name="weather", arguments='{"city": "Paris"}'):
    return [{"type": "function", "function": {"name": name, "arguments": arguments}}]


def test_it_reads_every_kind_and_says_what_it_expects():
    words = [expectation_of(p) for p in read_contract(read_json(json.dumps(ALL)))]
    assert words == [
        "contains 'Paris'",
        "JSON that is valid under its schema",
        "ends before '5' with finish_reason stop",
        "calls weather with arguments valid under its schema",
        "a prompt beyond the context is refused with 400 and an error that says why",
    ]


def test_it_takes_a_set_without_prompts():
    assert read_contract([]) == ()


DEEP = json.loads('{"items":' * 30 + "true" + "}" * 30)
BAD = [
    ({}, "Give a list of at most 12 prompts"),
    ([LONG] * (MOST + 1), "at most 12 prompts, not 13"),
    (["text"], "Prompt 1: give it a name"),
    ([TEXT | {"name": " "}], "Prompt 1: give it a name"),
    ([TEXT, TEXT], "Two prompts are called 'capital'"),
    ([TEXT | {"kind": "poem"}], "capital: its kind is one of text, json"),
    ([TEXT | {"kind": ["text"]}], "capital: its kind is one of text, json"),
    ([TEXT | {"schema": CITY}], "capital: a prompt of kind text has no schema"),
    ([LONG | {"prompt": "x"}], "too long: a prompt of kind too_long has no prompt"),
    ([TEXT | {"prompt": ""}], "capital: give a prompt of at most 4,000 characters"),
    ([TEXT | {"prompt": "x" * (LONGEST + 1)}], "capital: give a prompt of at most 4,000"),
    ([TEXT | {"max_tokens": True}], "max_tokens is a whole number between 1 and 256"),
    ([TEXT | {"max_tokens": 100_000}], "max_tokens is a whole number between 1 and 256"),
    ([TEXT | {"longest": 0}], "longest, in characters, is a whole number"),
    ([TEXT | {"contains": []}], "contains is a list of one to 8 texts"),
    ([TEXT | {"exact": 5}], "exact is a text of at most 500 characters"),
    ([{"name": "a", "kind": "text", "prompt": "x"}], "a: say what to expect"),
    ([TEXT | {"matches": "("}], "is no regular expression"),
    ([JSON | {"schema": None}], "as JSON: the schema is no JSON Schema: give an object"),
    ([JSON | {"schema": {"type": "objekt"}}], "the schema is no JSON Schema"),
    ([JSON | {"schema": {"$ref": "http://example.org/x"}}], "which is not among its own $defs"),
    ([JSON | {"schema": {"$ref": "#/$defs/a"}}], "refers to #/$defs/a"),
    ([JSON | {"schema": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}}],
     "the schema refers to itself without end"),
    ([JSON | {"schema": {"$id": "http://example.org"}}], "uses $id"),
    ([JSON | {"schema": {"$schema": "http://json-schema.org/draft-04/schema#"}}], "is written for"),
    ([JSON | {"schema": DEEP}], "is nested more than 24 deep"),
    ([JSON | {"schema": {"description": "x" * 30_000}}], "is longer than 20,000 characters"),
    ([JSON | {"schema": {"pattern": "(a+)+$"}}], "repeats a group"),
    ([JSON | {"schema": {"patternProperties": {"(a+)+$": {}}}}], "repeats a group"),
    ([JSON | {"guided": "yes"}], "guided is true or false"),
    ([STOP | {"stop": "5"}], "stops: stop is a list of one to 4 texts"),
    ([STOP | {"stop": ["1", "2", "3", "4", "5"]}], "stop is a list of one to 4 texts"),
    ([CALL | {"tool": "weather"}], "calls: tool is an object with a name and parameters"),
    ([CALL | {"tool": TOOL | {"strict": True}}], "name, description and parameters, no strict"),
    ([CALL | {"tool": {"name": "weather"}}], "the schema of the tool's parameters is no JSON"),
    ([TEXT | {"prompt": "a\x00b"}], "A NUL character is part of no text"),
    ([TEXT | {"prompt": "\ud800"}], "half a character"),
    ([JSON | {"schema": {"const": float("nan")}}], "The set holds NaN"),
    ([JSON | {"name": str(i), "schema": {"description": "x" * 19_000}} for i in range(4)],
     "The set has 76"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), BAD, ids=[s for _, s in BAD])
def test_it_refuses_a_bad_set_with_a_sentence(given, sentence):
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is checked below
        read_contract(given)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_it_refuses_what_is_no_json(text):
    with pytest.raises(ValueError, match="This is no JSON"):
        read_json(text)


@pytest.mark.parametrize(
    "pattern",
    [r"^\d{4}-\d{2}-\d{2}$", r"(yes|no)", r"https?://\S+", r"^[A-Z].*\.$", r"a\+\*\?", "[+*]"],
)
def test_it_takes_a_plain_pattern(pattern):
    assert refuse_pattern(pattern) == ""


SLOW = [r"(a+)+$", r"(a|a)*b", r"(.*,){11}x", r".*a.*b", r"^a*a*a*b", r"(?=a)b", r"(a)\1",
        "a?" * 7, r"(a{0,99}){0,99}", "(a|b)" * 7, "x" * 201]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_it_refuses_a_pattern_that_could_take_for_ever(pattern):
    assert refuse_pattern(pattern)


def test_the_slowest_pattern_that_is_taken_ends():
    """As far as a pattern may go, against the answer that makes it try everything."""
    slowest = prompt(TEXT, matches="^a*(a|a|a)a*(a|a|a)b", contains=["a"])
    began = time.process_time()
    assert judge(slowest, said("a" * 100_000)).verdict == "fail"
    assert time.process_time() - began < 60  # for ever would be years


def test_it_takes_schemas_with_their_own_definitions():
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}
    assert refuse_schema({"$defs": {"tree": tree}, "$ref": "#/$defs/tree"}) == ""


KEPT = [
    (TEXT, said("Paris, of course")),
    (TEXT | {"matches": "^Paris", "longest": 20}, said("Paris")),
    (TEXT | {"exact": "Paris"}, said(" Paris\n")),
    (JSON, said('{"city": "Paris"}')),
    (STOP, said("1 2 3 4 ")),
    (CALL, said(None, reason="tool_calls", tool_calls=call())),
    (LONG, refusal(400)),
    (LONG, refusal(413)),
]


@pytest.mark.parametrize(("given", "answer"), KEPT)
def test_it_passes_what_clients_rely_on(given, answer):
    found = judge(prompt(given), answer, "chat-1")
    assert (found.verdict, found.pod) == ("pass", "chat-1"), found.why


BROKEN = [
    (TEXT, said("London"), "expected it to contain 'Paris', got 'London'"),
    (TEXT, said(""), "got an empty answer"),
    (TEXT | {"matches": "^Paris"}, said("It is Paris"), "expected it to match '^Paris'"),
    (TEXT | {"exact": "Paris"}, said("Paris."), "expected exactly 'Paris', got 'Paris.'"),
    (TEXT | {"longest": 5}, said("Paris!"), "expected at most 5 characters, got 6"),
    (TEXT, refusal(404, "no such model"), "was refused with 404: no such model"),
    (TEXT, Said(200, {"choices": []}), "answered 200 with what is no completion"),
    (TEXT, Said(200, [1]), "answered 200 with what is no completion"),
    (TEXT, Said(200, "<html>"), "answered 200 with what is no completion"),
    (JSON, said("Paris"), "expected JSON, got 'Paris'"),
    (JSON, said("[" * 50_000), "expected JSON, got"),
    (JSON, said('{"city": 5}'), "the answer to be valid under the schema: city: 5 is not of type"),
    (JSON, said("{}"), "the whole: 'city' is a required property"),
    (STOP, said("1 2 3 4 5"), "expected it to end before '5', which is in the answer"),
    (STOP, said("1 2", reason="length"), "expected finish_reason stop, got length"),
    (CALL, said("Sunny"), "expected a call of weather, got none and finish_reason stop"),
    (CALL, said(tool_calls=call("news")), "expected a call of weather, got one of 'news'"),
    (CALL, said(tool_calls=call()), "expected finish_reason tool_calls, got stop"),
    (CALL, said(reason="tool_calls", tool_calls=call(arguments="{")), "expected JSON, got '{'"),
    (CALL, said(reason="tool_calls", tool_calls=call(arguments=None)), "expected arguments as a"),
    (CALL, said(reason="tool_calls", tool_calls=["weather"]), "got one of None"),
    (LONG, said("fine"), "expected a refusal with 400, got 200"),
    (LONG, Said(500, "Internal Server Error"), "expected a refusal with 400, got 500"),
    (LONG, Said(400, {}), "refused with 400, and no error says why"),
]


@pytest.mark.parametrize(("given", "answer", "why"), BROKEN, ids=[why for *_, why in BROKEN])
def test_it_says_what_was_expected_and_what_came(given, answer, why):
    found = judge(prompt(given), answer)
    assert found.verdict == "fail"
    assert why in found.why


@pytest.mark.parametrize(
    "answer",
    [Said(0, trouble="no answer within 15 s"), refusal(503, "busy"), refusal(429), refusal(500)],
)
def test_no_answer_is_neither_kept_nor_broken(answer):
    assert judge(prompt(TEXT), answer).verdict == "error"


def test_it_keeps_the_beginning_of_an_answer_only_and_as_a_table_takes_it():
    found = judge(prompt(TEXT), said("\x00\ud800" + "x" * 10_000))
    assert len(found.shown) == SHOWN
    assert found.shown.startswith("??x")
    assert len(found.why) < 300
    assert (found.prompt_tokens, found.completion_tokens, found.milliseconds) == (7, 3, 12.3)


def test_it_asks_as_clients_do():
    bodies = {p.kind: request_of(p, "chat", 4096) for p in read_contract(ALL)}
    assert bodies["text"] == (
        "/v1/chat/completions",
        {
            "model": "chat",
            "messages": [{"role": "user", "content": "Capital of France?"}],
            "max_tokens": 64,
            "temperature": 0,
        },
    )
    assert bodies["json"][1]["response_format"]["json_schema"]["schema"] == CITY
    assert bodies["stop"][1]["stop"] == ["5"]
    assert bodies["tool_call"][1]["tools"][0]["function"] == TOOL
    path, body = bodies["too_long"]
    assert (path, len(body["prompt"]), body["max_tokens"]) == ("/v1/completions", 4097, 1)
    unguided = request_of(prompt(JSON, guided=False), "chat", 4096)[1]
    assert "response_format" not in unguided
