"""Schemas and patterns of people, so bounded that no answer can keep a worker busy. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

LONGEST_SCHEMA = 20_000  # characters of its JSON
DEEPEST = 24
LONGEST_PATTERN = 200
MATCHED = 1_000  # characters of an answer that a pattern is held against
FORKS = 4  # of `?` and `|` together: each may double the work
ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
LOCAL = re.compile(r"#/(\$defs|definitions)/([^/~%]+)")
TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:|\(\?|[()|*+?]|\{\d+(?:,\d*)?\}|\{,\d+\}|.", re.DOTALL
)


def refuse_pattern(pattern: Any) -> str:
    """A sentence where it is no regular expression, or one that could take for ever."""
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= LONGEST_PATTERN:
        return f"a pattern is a text of at most {LONGEST_PATTERN} characters"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"the pattern {pattern!r} is no regular expression: {error}"
    return next(_slow(pattern), "")


def _slow(pattern: str) -> Iterator[str]:
    """Backtracking grows with the product of what may vary: so little may."""
    tokens = TOKEN.findall(pattern)
    if "(?" in tokens or any(re.fullmatch(r"\\[1-9]", t) for t in tokens):
        yield f"the pattern {pattern!r} looks around or back: only plain groups and (?: are taken"
    loops, forks, before = 0, tokens.count("|"), ""
    for token in tokens:
        modifier = token in ("?", "+") and _repeats(before)  # lazy, possessive
        if _repeats(token) and not modifier:
            if before == ")" and token != "?":
                yield f"the pattern {pattern!r} repeats a group: repeat single characters only"
            forks += token == "?"
            loops += token in ("*", "+") or "," in token
        before = "" if modifier else token
    most = 2 if pattern.startswith("^") else 1
    if loops > most:
        yield (
            f"the pattern {pattern!r} has {loops} repeats of any number: at most"
            f" {most}{'' if most == 2 else ', or 2 if it begins with ^'}"
        )
    if forks > FORKS:
        yield f"the pattern {pattern!r} has {forks} of ? and |: at most {FORKS}"


def _repeats(token: str) -> bool:
    return token in ("*", "+", "?") or (len(token) > 1 and token[0] == "{")


def refuse_schema(schema: Any) -> str:
    """A sentence where it is no JSON Schema (2020-12) that stands by itself."""
    if not isinstance(schema, dict):
        return "is no JSON Schema: give an object"
    if deeper(schema, DEEPEST):
        return f"is nested more than {DEEPEST} deep"
    if len(json.dumps(schema)) > LONGEST_SCHEMA:
        return f"is longer than {LONGEST_SCHEMA:,} characters"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"is no JSON Schema: {error.message[:160]}"
    if sentence := next(_foreign(schema, schema), ""):
        return sentence
    samples: tuple[Any, ...] = ({}, [], "", 0)
    return next((s for sample in samples if (s := invalid(sample, schema, loops=True))), "")


def deeper(value: Any, left: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return False
    return left == 0 or any(deeper(part, left - 1) for part in parts)


def _foreign(part: Any, root: Mapping[str, Any]) -> Iterator[str]:
    """What a schema may not hold: other documents, and patterns that take for ever."""
    if isinstance(part, list):
        for one in part:
            yield from _foreign(one, root)
    if not isinstance(part, dict):
        return
    for name, value in part.items():
        if name in ELSEWHERE and isinstance(value, str):
            yield f"uses {name}: only $ref to #/$defs/... is taken"
        if name == "$schema" and isinstance(value, str) and value != DRAFT:
            yield f"is written for {value[:80]}: only {DRAFT} is taken"
        if name == "$ref" and isinstance(value, str) and not _known(value, root):
            yield f"refers to {value[:80]}, which is not among its own $defs"
        patterns = [value] if name == "pattern" and isinstance(value, str) else []
        patterns += value if name == "patternProperties" and isinstance(value, dict) else []
        yield from (f"cannot be used: {s}" for p in patterns if (s := refuse_pattern(p)))
        yield from _foreign(value, root)


def _known(reference: str, root: Mapping[str, Any]) -> bool:
    found = LOCAL.fullmatch(reference)
    return found is not None and found[2] in root.get(found[1], {})


def invalid(value: Any, schema: Mapping[str, Any], *, loops: bool = False) -> str:
    """Why a value is not valid; empty: it is. `loops`: only whether the schema ever ends."""
    try:
        error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    except (RecursionError, OverflowError):
        return "refers to itself without end" if loops else "nobody can say whether it is valid"
    if error is None or loops:
        return ""
    return f"{'.'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message[:160]}"
