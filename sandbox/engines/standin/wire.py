"""Request parsing and response bodies of the stand-in, field by field as vLLM 0.32."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sandbox.engines.standin.core import Job, count_tokens
from sandbox.engines.standin.http import Request
from sandbox.engines.standin.shaped import form_of

LONGEST_TOKEN = 5  # characters; the longest of a tokenizer, here "</s>" and a space
DEFAULT_COMPLETION_TOKENS = 16  # /v1/completions without max_tokens; chat: the rest of the context


class ApiError(Exception):
    """An answer other than 200, in vLLM's error form."""

    def __init__(
        self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.status,
            }
        }


def _bad(message: str, param: str, value: object = None) -> ApiError:
    tail = f", value={value}" if value is not None else ""
    return ApiError(400, f"{message} (parameter={param}{tail})", param=param)


def _invalid(detail: str, param: str | None) -> ApiError:
    return ApiError(400, f"1 validation error:\n  {detail}", "Bad Request", param)


@dataclass(slots=True)
class Reply:
    """How the answer of one request is written."""

    chat: bool
    model: str
    stream: bool = False
    include_usage: bool = False
    continuous: bool = False
    details: bool = False  # --enable-prompt-tokens-details
    fingerprint: str | None = None
    kv: dict[str, Any] = field(default_factory=dict)  # kv_transfer_params
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = ("chatcmpl-" if self.chat else "cmpl-") + os.urandom(8).hex()

    # -- not streamed -----------------------------------------------------------
    def whole(self, jobs: list[Job]) -> dict[str, Any]:
        prompt = sum(j.prompt_tokens for j in jobs)
        output = sum(j.generated for j in jobs)
        cached = sum(j.cached_tokens for j in jobs)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + output,
            "completion_tokens": output,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        }
        if self.details:
            # created_cache_tokens is filled for chat only, in vLLM 0.32 too.
            created = sum(j.created_tokens for j in jobs) if self.chat else None
            usage["prompt_tokens_details"] = {
                "cached_tokens": cached,
                "created_cache_tokens": created,
                "multimodal_tokens": None,
            }
        body = {
            "id": self.id,
            "object": "chat.completion" if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [self._choice(i, job) for i, job in enumerate(jobs)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": usage,
        }
        if self.chat:
            body |= {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}
        return body | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}

    def _choice(self, index: int, job: Job) -> dict[str, Any]:
        text = "".join(job.text(i) for i in range(job.generated))
        end = {
            "logprobs": None,
            "finish_reason": job.finish_reason,
            "stop_reason": job.stop,
            "token_ids": None,
        }
        if self.chat:
            message: dict[str, Any] = {
                "role": "assistant",
                "content": text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": None,
            }
            if job.tool and job.finish_reason == "stop":
                end["finish_reason"] = "tool_calls"  # of the API alone: the engine stopped
                called = {"name": job.tool, "arguments": text}
                call = {"id": f"call_{self.id}", "type": "function", "function": called}
                message |= {"content": None, "tool_calls": [call]}
            return {"index": index, "message": message, **end, "routed_experts": None}
        extra = {"prompt_logprobs": None, "prompt_token_ids": None, "routed_experts": None}
        return {"index": index, "text": text, **end, **extra}

    # -- streamed ---------------------------------------------------------------
    def _event(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _usage(self, job: Job, generated: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": job.prompt_tokens,
            "total_tokens": job.prompt_tokens + generated,
            "completion_tokens": generated,
        }
        if self.chat:
            usage["completion_tokens_details"] = None
        return usage

    def opening(self, job: Job) -> dict[str, Any] | None:
        """Chat streams begin with a role chunk, sent when the first token exists."""
        if not self.chat:
            return None
        delta = {"role": "assistant", "content": ""}
        event = self._event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])
        if self.continuous:
            event["usage"] = self._usage(job, 0)
        return event | {"prompt_token_ids": None, "prompt_text": None}

    def token(self, job: Job, position: int, *, final: bool, empty: bool = False) -> dict[str, Any]:
        text = "" if empty else job.text(position - 1)
        reason = job.finish_reason if final else None
        choice: dict[str, Any] = {"index": 0}
        choice |= {"delta": {"content": text}} if self.chat else {"text": text}
        choice |= {"logprobs": None, "finish_reason": reason}
        if not self.chat or reason:
            choice["stop_reason"] = job.stop if reason else None
        if not self.chat:
            choice["prompt_token_ids"] = None
        event = self._event([choice | {"token_ids": None}])
        if self.continuous:
            event["usage"] = self._usage(job, position)
        # Without a usage chunk the chunk with finish_reason carries the fingerprint.
        if reason and not self.include_usage and self.fingerprint is not None:
            event["system_fingerprint"] = self.fingerprint
        return event

    def closing(self, job: Job) -> dict[str, Any] | None:
        """The usage chunk; it takes the fingerprint over from the last token chunk."""
        if not self.include_usage:
            return None
        usage = self._usage(job, job.generated)
        usage.pop("completion_tokens_details", None)
        if self.details:
            usage["prompt_tokens_details"] = {"cached_tokens": job.cached_tokens}
            if self.chat:
                usage["prompt_tokens_details"]["created_cache_tokens"] = job.created_tokens
        event = self._event([]) | {"usage": usage}
        if self.fingerprint is not None:
            event["system_fingerprint"] = self.fingerprint
        return event


def _problem(kind: str, field: str, text: str, given: object) -> ApiError:
    """A validation error as pydantic words it."""
    shown = f"<dict of {len(given)} items>" if isinstance(given, dict) else str(given)
    if isinstance(given, list):
        shown = f"<list of {len(given)} items>"
    row = f"{{'type': '{kind}', 'loc': '{field}', 'msg': '{text}', 'input': '{shown}'}}"
    return _invalid(row, field)


def _load(request: Request) -> dict[str, Any]:
    if "json" not in request.headers.get("content-type", ""):
        raise _invalid("Unsupported Media Type: Only 'application/json' is allowed", None)
    try:
        body = json.loads(request.body)
    except ValueError as exc:
        at, why = getattr(exc, "pos", 0), getattr(exc, "msg", "not UTF-8")
        row = f"{{'type': 'json_invalid', 'loc': 'body.{at}', 'msg': 'JSON decode error', "
        row += f"'input': '<dict of 0 items>', 'ctx': {{'error': '{why}'}}}}"
        raise _invalid(row, f"body.{at}") from None
    if not isinstance(body, dict):
        text = "Input should be a valid dictionary or object to extract fields from"
        raise _problem("model_attributes_type", "body", text, body)
    _check_types(body)
    return body


def _check_types(body: dict[str, Any]) -> None:
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = body.get(name)
        if isinstance(value, bool) or not isinstance(value, int | None):
            text = "Input should be a valid integer, unable to parse string as an integer"
            raise _problem("int_parsing", f"body.{name}", text, value)
    if not isinstance(body.get("stream"), bool | None):
        text = "Input should be a valid boolean, unable to interpret input"
        raise _problem("bool_parsing", "body.stream", text, body["stream"])
    if not isinstance(body.get("stream_options"), dict | None):
        text = "Input should be a valid dictionary or instance of StreamOptions"
        raise _problem("model_type", "body.stream_options", text, body["stream_options"])


def _prompts(body: dict[str, Any], chat: bool) -> list[str | list[int]]:
    if chat:
        return [_chat_prompt(body)]
    prompt = body.get("prompt")
    if prompt is None or prompt == "" or prompt == []:
        raise _bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list):
        text = "Input should be a valid list"
        raise _problem("list_type", "body.prompt", text, prompt)
    return [prompt] if isinstance(prompt[0], int) else list(prompt)


def _chat_prompt(body: dict[str, Any]) -> str:
    if "messages" not in body:
        raise _problem("missing", "body.messages", "Field required", body)
    messages = body["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise _problem("list_type", "body.messages", "Input should be a valid list", messages)
    lines = [f"{m.get('role')}: {_content(m.get('content'))}\n" for m in messages]
    return "".join(lines) + "assistant:"


def _content(content: object) -> str:
    if isinstance(content, list):  # content parts
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _too_long(prompt: str | list[int], max_len: int) -> ApiError:
    most = max_len * LONGEST_TOKEN
    text = (
        f"This model's maximum context length is {max_len} tokens. However, your prompt contains "
        f"{len(prompt)} characters (more than {most} characters, which is the upper bound for "
        f"{max_len} input tokens). Please reduce the length of the input prompt."
    )
    return _bad(text, "input_text", len(prompt))


def _jobs(
    prompts: list[str | list[int]],
    body: dict[str, Any],
    chat: bool,
    limit: int | None,
    max_len: int,
    loose: bool,
) -> list[Job]:
    jobs = []
    for prompt in prompts:
        room = max_len - count_tokens(prompt)
        if room < 1 and not loose:
            raise _too_long(prompt, max_len)
        room = max(room, 1)
        wanted = min(limit or (room if chat else DEFAULT_COMPLETION_TOKENS), room)
        salt = str(body.get("cache_salt") or "")
        form = None if loose else form_of(body, wanted, chat=chat)
        for _ in range(int(body.get("n") or 1)):
            job = Job(prompt, wanted, bool(body.get("ignore_eos")), salt)
            if form:
                job.texts, job.tool, job.stop = form.texts, form.tool, form.stop
            jobs.append(job)
    return jobs


def _blocks_asked(body: dict[str, Any]) -> dict[str, Any]:
    asked = body.get("kv_transfer_params")
    return asked if isinstance(asked, dict) else {}


def parse_request(
    request: Request,
    chat: bool,
    names: list[str],
    max_len: int,
    details: bool,
    loose: bool = False,
    adapters: Collection[str] = (),
) -> tuple[list[Job], Reply]:
    """Validate as vLLM does (the checks that a client can meet) and make the jobs."""
    body = _load(request)
    model = body.get("model")
    if model is not None and model not in names and model not in adapters:
        text = f"The model `{model}` does not exist. Valid aliases: {', '.join(names)}."
        raise ApiError(404, text, "NotFoundError", "model")
    prompts = _prompts(body, chat)
    options = body.get("stream_options")
    if options and not body.get("stream"):
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    limit = body.get("max_completion_tokens") if chat else None
    limit = limit if limit is not None else body.get("max_tokens")
    if limit is not None and limit < 1:
        raise _bad(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)
    if limit is not None and limit > max_len:
        text = (
            f"max_tokens={limit} cannot be greater than max_model_len={max_len}. "
            "Please request fewer output tokens."
        )
        raise _bad(text, "max_tokens", limit)
    jobs = _jobs(prompts, body, chat, limit, max_len, loose)
    for job in jobs if model in adapters else ():
        job.salt = f"{model}/{job.salt}"  # blocks of other weights are never found
    options = options or {}
    usage = bool(options.get("include_usage"))
    reply = Reply(
        chat=chat,
        model=model if model is not None and model in adapters else names[0],
        stream=bool(body.get("stream")),
        include_usage=usage,
        continuous=usage and bool(options.get("continuous_usage_stats")),
        details=details,
        kv=_blocks_asked(body),
    )
    return jobs, reply
