"""Read an engine's answer: what it used, how it ended, what of it the client asked for.

`[DONE]` proves nothing: an engine sends it after errors too. With running usage on, each chunk
carries the totals of its choice so far, so the last value counts and never the sum of chunks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.contract.outcomes import UsageQuality

DONE = b"[DONE]"
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_GAPS = 4096
MAX_REASON, MAX_ID = 32, 128  # as long as the ingest door takes them
BAD_ENDS = frozenset({"abort", "error"})


class BrokenAnswerError(Exception):
    """The engine's bytes are not what they claim to be."""


@dataclass(slots=True)
class _Choice:
    prompt: int = 0
    completion: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class Observed:
    """What was seen of an answer so far. Times are seconds of the loop's clock."""

    outputs_per_prompt: int = 1
    prompt: int = 0
    cached: int = 0
    found_cached: int | None = None  # by the engine that read the prompt, where that was another
    completion: int = 0
    quality: UsageQuality = UsageQuality.NONE
    finish_reason: str = ""
    error: str = ""
    engine_id: str = ""
    first_at: float | None = None
    last_at: float = 0.0
    gaps: list[float] = field(default_factory=list)
    _choices: dict[int, _Choice] = field(default_factory=dict)

    def take_final(self, usage: dict[str, Any]) -> None:
        self.prompt = _whole(usage.get("prompt_tokens"))
        self.completion = _whole(usage.get("completion_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            found = _whole(details.get("cached_tokens"))
            self.cached = min(
                self.prompt, found if self.found_cached is None else self.found_cached
            )
        self.quality = UsageQuality.FINAL

    def take_running(self, index: int, usage: dict[str, Any], now: float) -> None:
        if self.quality is UsageQuality.FINAL:
            return
        choice = self._choices.setdefault(index, _Choice())
        choice.prompt = _whole(usage.get("prompt_tokens"))
        completion = _whole(usage.get("completion_tokens"))
        self._note_tokens(choice, completion - choice.completion, now)
        choice.completion = completion
        self.quality = UsageQuality.CONTINUOUS
        # Outputs of one prompt share its tokens; several prompts add up.
        prompts = {
            number // self.outputs_per_prompt: one.prompt for number, one in self._choices.items()
        }
        self.prompt = sum(prompts.values())
        self.completion = sum(one.completion for one in self._choices.values())

    def note_chunk(self, now: float) -> None:
        """Remember when output came from an engine that reports no running usage."""
        if self.quality is UsageQuality.NONE:
            self._note_tokens(self._choices.setdefault(0, _Choice()), 1, now)

    def _note_tokens(self, choice: _Choice, tokens: int, now: float) -> None:
        if tokens <= 0:
            return
        if self.first_at is None:
            self.first_at = now
        elif choice.last_at and len(self.gaps) < MAX_GAPS:
            self.gaps.append((now - choice.last_at) / tokens)
        choice.last_at = self.last_at = now

    def end(self, reason: object) -> None:
        """Keep how it ended; a bad end of one choice outweighs the good ends of others."""
        if isinstance(reason, str) and self.finish_reason not in BAD_ENDS:
            self.finish_reason = reason[:MAX_REASON]


class StreamReader:
    """Takes bytes from the engine, gives the bytes for the client."""

    def __init__(
        self, observed: Observed, *, wants_usage: bool, wants_continuous_usage: bool
    ) -> None:
        self.observed = observed
        self.is_done = False
        self._wants_usage = wants_usage
        self._wants_continuous = wants_usage and wants_continuous_usage
        self._rest = b""

    def feed(self, data: bytes, now: float) -> bytes:
        whole = self._rest + data
        if b"\r" in whole:  # a line's end may come in two parts
            whole = whole.replace(b"\r\n", b"\n")
        *events, self._rest = whole.split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BrokenAnswerError(f"one event is longer than {MAX_EVENT_BYTES} bytes")
        return b"".join([self._event(event, now) for event in events])

    def _event(self, event: bytes, now: float) -> bytes:
        if not event.startswith(b"data:"):
            return event + b"\n\n"
        payload = event[5:].lstrip()
        if payload == DONE:
            self.is_done = True
            return event + b"\n\n"
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise BrokenAnswerError("an event is not JSON") from error
        if not isinstance(chunk, dict):
            raise BrokenAnswerError("an event is not a JSON object")
        return self._chunk(event, chunk, now)

    def _chunk(self, event: bytes, chunk: dict[str, Any], now: float) -> bytes:
        observed = self.observed
        if "error" in chunk:
            observed.error = _error_text(chunk["error"])
            return event + b"\n\n"
        choices = _choices_of(chunk)
        usage = chunk.get("usage")
        if not choices:
            if isinstance(usage, dict):
                observed.take_final(usage)
                return event + b"\n\n" if self._wants_usage else b""
            return event + b"\n\n"
        if not observed.engine_id:
            observed.engine_id = _name(chunk.get("id"))
        for choice in choices:
            if isinstance(usage, dict):
                observed.take_running(_whole(choice.get("index")), usage, now)
            else:
                observed.note_chunk(now)
            observed.end(choice.get("finish_reason"))
        if usage is None or self._wants_continuous:
            return event + b"\n\n"
        del chunk["usage"]
        return b"data: " + orjson.dumps(chunk) + b"\n\n"


def read_whole(observed: Observed, raw: bytes) -> None:
    """Take in an answer that was not streamed."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BrokenAnswerError("the engine's answer is not JSON") from error
    if not isinstance(body, dict):
        raise BrokenAnswerError("the engine's answer is not a JSON object")
    observed.engine_id = _name(body.get("id"))
    if isinstance(body.get("usage"), dict):
        observed.take_final(body["usage"])
    for choice in _choices_of(body):
        observed.end(choice.get("finish_reason"))
    if body.get("error"):
        observed.error = _error_text(body["error"])


def _choices_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise BrokenAnswerError("its choices are no list of objects")
    return choices


def _error_text(error: object) -> str:
    if isinstance(error, dict):
        return str(error.get("message") or "the engine reported an error")
    return str(error)


def _name(value: object) -> str:
    return value[:MAX_ID] if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
