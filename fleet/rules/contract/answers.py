"""What an engine made of a recorded prompt: as clients rely on it, or not, or no answer. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fleet.rules.contract.patterns import MATCHED, invalid
from fleet.rules.contract.prompts import Prompt, expectation_of
from fleet.rules.phases import Verdict

SHOWN = 300  # characters of an answer that are kept
REFUSALS = frozenset({400, 413, 422})
PASSING = frozenset({408, 429})  # trouble that may pass, as all of 5xx


@dataclass(frozen=True, slots=True)
class Said:
    """An engine's answer: status 0, and `trouble`, where none came in time."""

    status: int
    document: Any = None
    milliseconds: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt as one replica answered it; this is kept. Verdict `error`: no answer."""

    pod: str
    name: str
    kind: str
    expected: str
    verdict: str  # pass, fail, error
    why: str
    shown: str  # the beginning of the answer
    status: int
    milliseconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Judged = tuple[Verdict, str, str]  # with why and what is shown


def judge(prompt: Prompt, said: Said, pod: str = "") -> Sample:
    """Hold an answer against what its prompt expects."""
    verdict, why, shown = _judged(prompt, said)
    usage = _part(said.document, "usage")
    return Sample(
        pod=pod,
        name=prompt.name,
        kind=prompt.kind,
        expected=expectation_of(prompt),
        verdict=verdict.value,
        why=_kept(why),
        shown=_kept(shown[:SHOWN]),
        status=said.status,
        milliseconds=round(said.milliseconds, 1),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _kept(text: str) -> str:
    """As a table takes it: engines may answer with NUL and with half a character."""
    return text.replace("\x00", "?").encode(errors="replace").decode()


def _judged(prompt: Prompt, said: Said) -> Judged:
    if said.trouble:
        return Verdict.ERROR, said.trouble, ""
    if prompt.kind == "too_long":
        return _refused(said)
    if said.status >= 500 or said.status in PASSING:
        return Verdict.ERROR, f"answered {said.status}{_told(said)}", _text_of(said.document)
    if said.status != 200:
        return Verdict.FAIL, f"was refused with {said.status}{_told(said)}", _text_of(said.document)
    why, shown = _answered(prompt, said)
    return (Verdict.FAIL, why, shown) if why else (Verdict.PASS, "as expected", shown)


def _refused(said: Said) -> Judged:
    shown = _text_of(said.document)
    if said.status not in REFUSALS:
        return Verdict.FAIL, f"expected a refusal with 400, got {said.status}", shown
    if not _told(said):
        return Verdict.FAIL, f"refused with {said.status}, and no error says why", shown
    return Verdict.PASS, f"refused with {said.status}", shown


def _told(said: Said) -> str:
    error = _part(said.document, "error")
    message = error.get("message")
    return f": {message[:160]}" if isinstance(message, str) and message.strip() else ""


def _answered(prompt: Prompt, said: Said) -> tuple[str, str]:
    """Why it is not as expected (empty: it is), and what to show."""
    choices = said.document.get("choices") if isinstance(said.document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = _part(choice, "message")
    if not message:
        return "answered 200 with what is no completion", _text_of(said.document)
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    reason = str(_of(choice, "finish_reason") or "nothing")
    if prompt.kind == "tool_call":
        return _called(message, reason, prompt.tool)
    if prompt.kind == "json":
        return _valid(text, prompt.schema, "the answer") or _long(text, prompt), text
    if prompt.kind == "stop":
        return _stopped(text, reason, prompt) or _long(text, prompt), text
    return _worded(text, prompt) or _long(text, prompt), text


def _worded(text: str, prompt: Prompt) -> str:
    if prompt.exact is not None and text.strip() != prompt.exact.strip():
        return f"expected exactly {prompt.exact[:80]!r}, got {_short(text)}"
    if missing := [part for part in prompt.contains if part not in text]:
        return f"expected it to contain {missing[0][:80]!r}, got {_short(text)}"
    if prompt.matches and not re.search(prompt.matches, text[:MATCHED]):
        return f"expected it to match {prompt.matches[:80]!r}, got {_short(text)}"
    return ""


def _long(text: str, prompt: Prompt) -> str:
    if prompt.longest is None or len(text) <= prompt.longest:
        return ""
    return f"expected at most {prompt.longest:,} characters, got {len(text):,}"


def _stopped(text: str, reason: str, prompt: Prompt) -> str:
    if held := [word for word in prompt.stop if word in text]:
        return f"expected it to end before {held[0][:80]!r}, which is in the answer"
    if reason != "stop":
        return f"expected finish_reason stop, got {reason[:40]}"
    return ""


def _called(message: Mapping[str, Any], reason: str, tool: Mapping[str, Any]) -> tuple[str, str]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        shown = _text_of(message.get("content") or "")
        return f"expected a call of {tool['name']}, got none and finish_reason {reason[:40]}", shown
    shown, called = _text_of(calls), _part(calls[0], "function")
    if called.get("name") != tool["name"]:
        return f"expected a call of {tool['name']}, got one of {called.get('name')!r:.80}", shown
    if reason != "tool_calls":
        return f"expected finish_reason tool_calls, got {reason[:40]}", shown
    arguments = called.get("arguments")
    if not isinstance(arguments, str):
        return "expected arguments as a text of JSON, got something else", shown
    return _valid(arguments, tool["parameters"], "the arguments"), shown


def _valid(text: str, schema: Mapping[str, Any], what: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return f"expected JSON, got {_short(text)}"
    why = invalid(found, schema)
    return f"expected {what} to be valid under the schema: {why}" if why else ""


def _short(text: str) -> str:
    return f"{text[:80]!r}{'...' if len(text) > 80 else ''}" if text else "an empty answer"


def _text_of(document: Any) -> str:
    """Deep documents too: only their beginning is shown."""
    if isinstance(document, str):
        return document
    try:
        return json.dumps(document, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "a document that cannot be shown"


def _of(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _part(document: Any, name: str) -> Mapping[str, Any]:
    found = _of(document, name)
    return found if isinstance(found, dict) else {}


def _count(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, 0), 10_000_000) if whole else 0
