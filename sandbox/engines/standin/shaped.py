"""Answers in the form that a client asked for: a JSON schema, a tool call, a stop word.

A form, not a meaning: the smallest value of a schema. As vLLM does it by guided decoding and tool
parsers; `pattern`, `format` and the like are not looked at, and streams carry no tool calls.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.engines.standin.core import WORDS

PIECE = 4  # characters of a token
DEEPEST = 8
SCALARS: dict[str, Any] = {"boolean": True, "null": None, "integer": 0, "number": 0}


@dataclass(frozen=True)
class Form:
    """What an answer will be, token by token."""

    texts: tuple[str, ...]
    tool: str = ""
    stop: str | None = None  # the word that ended it


def form_of(body: dict[str, Any], most: int, *, chat: bool) -> Form | None:
    """None: nothing was asked of the form. `most`: tokens that the answer may have."""
    try:
        form = _called(body) if chat and not body.get("stream") else None
        form = form or _schematic(body)
    except LookupError as exc:
        raise ValueError(f"Field required: {exc}") from None
    stops = body.get("stop") or []
    words = [stops] if isinstance(stops, str) else [w for w in stops if isinstance(w, str) and w]
    if not words or (form and form.tool):
        return form
    return _stopped(form, words, most)


def _called(body: dict[str, Any]) -> Form | None:
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools or body.get("tool_choice") == "none":
        return None
    function = tools[0]["function"]
    arguments = instance_of(function.get("parameters") or {"type": "object"})
    return Form(_pieces(json.dumps(arguments)), tool=str(function["name"]))


def _schematic(body: dict[str, Any]) -> Form | None:
    asked = body.get("response_format") or {}
    if asked.get("type") == "json_object":
        return Form(("{}",))
    if asked.get("type") != "json_schema":
        return None
    return Form(_pieces(json.dumps(instance_of(asked["json_schema"]["schema"]))))


def _stopped(form: Form | None, words: list[str], most: int) -> Form | None:
    texts = form.texts if form else WORDS
    whole = "".join(texts[:most])
    found = [(at, word) for word in words if (at := whole.find(word)) >= 0]
    if not found:
        return form
    at, word = min(found)
    return Form(tuple(_until(texts, at)), stop=word)


def _until(texts: tuple[str, ...], end: int) -> Iterator[str]:
    for text in texts:
        if end <= 0:
            return
        yield text[:end]
        end -= len(text)


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(text[i : i + PIECE] for i in range(0, len(text), PIECE))


def instance_of(schema: Any, root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """The smallest value that a plain schema takes."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    root = schema if root is None else root
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return instance_of(_found(root, str(schema["$ref"])), root, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return instance_of(schema[name][0], root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        parts = schema.get("properties") or {}
        return {n: instance_of(parts.get(n), root, depth + 1) for n in schema.get("required") or ()}
    if kind == "array":
        one = instance_of(schema.get("items"), root, depth + 1)
        return [one] * min(int(schema.get("minItems") or 0), 8)
    if kind == "string":
        return "x" * max(int(schema.get("minLength") or 0), 1)
    return schema.get("minimum", SCALARS.get(kind))


def _found(root: dict[str, Any], reference: str) -> Any:
    part: Any = root
    for name in reference.removeprefix("#/").split("/"):
        part = part.get(name) if isinstance(part, dict) else None
    return part
