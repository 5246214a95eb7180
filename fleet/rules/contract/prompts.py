"""Read a set of recorded prompts and refuse a bad one with sentences. Pure.

A prompt is of one kind: `text` (the answer contains, matches or is something, and is not too long),
`json` (valid under a schema), `stop` (it ends before a stop word), `tool_call` (a tool is called as
described), `too_long` (a prompt beyond the context is refused).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.rules.contract.patterns import refuse_pattern, refuse_schema

MOST = 12  # prompts of a set
LONGEST = 4_000  # characters of a prompt
LONGEST_SET = 60_000  # characters of its JSON
LONGEST_TEXT = 500  # characters of an expected text
MOST_TOKENS = 256
TOKENS = 64  # where a prompt does not say
MOST_STOPS = 4
ASKED = frozenset({"prompt", "max_tokens", "longest"})
FIELDS = {
    "text": ASKED | {"contains", "matches", "exact"},
    "json": ASKED | {"schema", "guided"},
    "stop": ASKED | {"stop"},
    "tool_call": frozenset({"prompt", "max_tokens", "tool"}),
    "too_long": frozenset[str](),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str
    kind: str
    prompt: str = ""
    max_tokens: int = TOKENS
    longest: int | None = None  # characters of the answer
    contains: tuple[str, ...] = ()
    matches: str = ""
    exact: str | None = None  # without the space around it
    schema: Mapping[str, Any] = field(default_factory=dict)
    guided: bool = True  # the schema is sent as response_format
    stop: tuple[str, ...] = ()
    tool: Mapping[str, Any] = field(default_factory=dict)  # name, description, parameters


def read_json(text: str) -> Any:
    """A set as somebody typed it, not looked at yet."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This is no JSON: {error}") from error


def read_contract(given: Any) -> tuple[Prompt, ...]:
    """Prompts from JSON; raise ValueError with a sentence. None at all is a set too."""
    if not isinstance(given, list) or len(given) > MOST:
        count = f", not {len(given)}" if isinstance(given, list) else ""
        raise ValueError(f"Give a list of at most {MOST} prompts{count}")
    found = tuple(_read(one, number) for number, one in enumerate(given, 1))
    if sentence := _unkept(given):
        raise ValueError(sentence)
    names = [p.name for p in found]
    if twice := [n for n in names if names.count(n) > 1]:
        raise ValueError(f"Two prompts are called {twice[0]!r}: results are told by name")
    return found


def _unkept(given: Any) -> str:
    """What JSON may be in memory and not in a table."""
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return "The set holds NaN, Infinity or half a character, which JSON does not know"
    if "\\u0000" in text:
        return "A NUL character is part of no text"
    if len(text) > LONGEST_SET:
        return f"The set has {len(text):,} characters, at most {LONGEST_SET:,} are kept"
    return ""


def _read(given: Any, number: int) -> Prompt:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 80:
        raise ValueError(f"Prompt {number}: give it a name of at most 80 characters")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError(f"{name}: its kind is one of {', '.join(FIELDS)}")
    if strange := sorted(given.keys() - FIELDS[kind] - {"name", "kind"}):
        raise ValueError(f"{name}: a prompt of kind {kind} has no {str(strange[0])[:80]}")
    for sentence in (*_question(given, kind), *EXPECTATIONS[kind](given)):
        raise ValueError(f"{name}: {sentence}")
    rest: dict[str, Any] = {
        k: tuple(v) if k in ("stop", "contains") else v for k, v in given.items()
    }
    return Prompt(**rest | {"name": name.strip()})


def _question(given: Mapping[str, Any], kind: str) -> Iterator[str]:
    if kind == "too_long":
        return
    if not _text(given.get("prompt"), LONGEST):
        yield f"give a prompt of at most {LONGEST:,} characters"
    if not _whole(given.get("max_tokens", TOKENS), MOST_TOKENS):
        yield f"max_tokens is a whole number between 1 and {MOST_TOKENS}"
    if "longest" in given and not _whole(given["longest"], 10_000):
        yield "longest, in characters, is a whole number between 1 and 10,000"


def _text_kind(given: Mapping[str, Any]) -> Iterator[str]:
    if not given.keys() & {"contains", "matches", "exact", "longest"}:
        yield "say what to expect: contains, matches, exact or longest"
    if "contains" in given and not _texts(given["contains"], 8):
        yield f"contains is a list of one to 8 texts of at most {LONGEST_TEXT} characters"
    if "exact" in given and not _text(given["exact"], LONGEST_TEXT):
        yield f"exact is a text of at most {LONGEST_TEXT} characters"
    if "matches" in given and (sentence := refuse_pattern(given["matches"])):
        yield sentence


def _json_kind(given: Mapping[str, Any]) -> Iterator[str]:
    if sentence := refuse_schema(given.get("schema")):
        yield f"the schema {sentence}"
    if not isinstance(given.get("guided", True), bool):
        yield "guided is true or false: whether the schema is sent with the prompt"


def _stop_kind(given: Mapping[str, Any]) -> Iterator[str]:
    if not _texts(given.get("stop"), MOST_STOPS):
        yield f"stop is a list of one to {MOST_STOPS} texts of at most {LONGEST_TEXT} characters"


def _tool_kind(given: Mapping[str, Any]) -> Iterator[str]:
    tool = given.get("tool")
    if not isinstance(tool, dict) or not _text(tool.get("name"), 64):
        yield "tool is an object with a name and parameters"
        return
    if strange := sorted(tool.keys() - {"name", "description", "parameters"}):
        yield f"a tool has name, description and parameters, no {str(strange[0])[:80]}"
    if not _text(tool.get("description", "-"), LONGEST_TEXT):
        yield f"the description of the tool is a text of at most {LONGEST_TEXT} characters"
    if sentence := refuse_schema(tool.get("parameters")):
        yield f"the schema of the tool's parameters {sentence}"


def _nothing(given: Mapping[str, Any]) -> Iterator[str]:
    yield from ()


EXPECTATIONS = {
    "text": _text_kind,
    "json": _json_kind,
    "stop": _stop_kind,
    "tool_call": _tool_kind,
    "too_long": _nothing,
}


def _text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest


def _texts(value: Any, most: int) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        return False
    return all(_text(v, LONGEST_TEXT) for v in value)


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def request_of(prompt: Prompt, service: str, context: int) -> tuple[str, dict[str, Any]]:
    """Path and body of the question. `context`: tokens that the replica says it takes."""
    if prompt.kind == "too_long":
        # Tokens by number: one too many, whatever a tokenizer makes of words.
        body: dict[str, Any] = {"model": service, "prompt": [1] * (context + 1), "max_tokens": 1}
        return "/v1/completions", body
    body = {
        "model": service,
        "messages": [{"role": "user", "content": prompt.prompt}],
        "max_tokens": prompt.max_tokens,
        "temperature": 0,
    }
    if prompt.kind == "json" and prompt.guided:
        named = {"name": "answer", "schema": dict(prompt.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if prompt.kind == "stop":
        body["stop"] = list(prompt.stop)
    if prompt.kind == "tool_call":
        body["tools"] = [{"type": "function", "function": dict(prompt.tool)}]
        body["tool_choice"] = "auto"
    return "/v1/chat/completions", body


def expectation_of(prompt: Prompt) -> str:
    """In words, for the page and the sentence of a failure."""
    if prompt.kind == "too_long":
        return "a prompt beyond the context is refused with 400 and an error that says why"
    found = []
    if prompt.kind == "json":
        found.append("JSON that is valid under its schema")
    if prompt.kind == "stop":
        found.append(f"ends before {' or '.join(map(repr, prompt.stop))} with finish_reason stop")
    if prompt.kind == "tool_call":
        found.append(f"calls {prompt.tool['name']} with arguments valid under its schema")
    if prompt.exact is not None:
        found.append(f"is exactly {prompt.exact!r}")
    found += [f"contains {text!r}" for text in prompt.contains]
    if prompt.matches:
        found.append(f"matches {prompt.matches!r}")
    if prompt.longest is not None:
        found.append(f"at most {prompt.longest:,} characters")
    return ", ".join(found)
