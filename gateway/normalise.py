"""Turn what a client sent into what an engine may see.

The body is parsed and written anew, never spliced, and what steers the engine for one tenant at
the cost of others is dropped or overwritten, never defaulted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson

from gateway import errors
from gateway.contract.routing import Service
from gateway.media import check_media

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"

# vLLM obeys these for the whole engine or for other tenants' work.
DROPPED = (
    "request_id",
    "session_id",
    "kv_transfer_params",
    "ec_transfer_params",
    "vllm_xargs",
    "logits_processors",
    "chat_template",
    "priority",
    "cache_salt",
    "stream_options",
    "data_parallel_rank",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "return_token_ids",
    "prompt_embeds",
    "return_prompt_text",  # it shows the template, which is the operator's
    "stream_interval",  # what a client that leaves has used would be known this late
)
MAX_CHOICES = 16
MAX_NAME = 128  # as long as the ingest door takes it
MAX_PROMPT_LOGPROBS = 5
MAX_MEMBERS = 200  # of the outermost object; engines know half as many
MAX_BRACKETS = 250  # fewer cannot be nested more deeply than the writer goes


@dataclass(frozen=True, slots=True)
class Asked:
    """One normalised request. `body` lacks only `priority`, which depends on the pool."""

    path: str
    model: str
    body: dict[str, Any]
    body_bytes: int
    stream: bool
    wants_usage: bool
    wants_continuous_usage: bool
    max_tokens: int
    choices: int  # sequences that the engine will run
    outputs_per_prompt: int  # that it answers: `best_of` runs more
    prompt_token_ids: int  # exact count when the prompt is a list of token ids, else 0
    modifiers: tuple[str, ...]
    is_adapter: bool = False  # the model is one of an engine that serves others too


def read_model(raw: bytes) -> tuple[dict[str, Any], str]:
    """Parse a body as far as to know which model it asks for."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.invalid(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise errors.invalid("The body must be a JSON object.")
    if len(body) > MAX_MEMBERS:
        raise errors.invalid(f"The body has more than {MAX_MEMBERS} members.")
    if has_duplicate_keys(raw, body):
        raise errors.invalid("The body has the same key twice.")
    if not is_writable(raw, body):
        raise errors.invalid("The JSON is nested too deeply.")
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_NAME or not model.isprintable():
        raise errors.invalid("'model' must be the name of a model.", "model")
    return body, model


def has_duplicate_keys(raw: bytes, body: dict[str, Any]) -> bool:
    """Tell whether the outermost object names a key twice; parsers take the last one silently.

    Most bodies are cleared by counting: a key given twice is spelled twice, or once with an
    escape. What is left is read again by the slow parser, which sees every pair.
    """
    if b"\\u00" not in raw and all(raw.count(b'"%b"' % key.encode()) == 1 for key in body):
        return False
    outermost: list[tuple[str, Any]] = []

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outermost
        outermost = pairs  # objects are finished from the inside out
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=take)
    except (ValueError, RecursionError):
        raise errors.invalid("The JSON is nested too deeply.") from None
    return len(outermost) != len(dict(outermost))


def is_writable(raw: bytes, body: dict[str, Any]) -> bool:
    """Tell whether the body can be written anew: the parser goes deeper than the writer."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_BRACKETS:
        return True
    try:
        orjson.dumps(body)
    except TypeError:
        return False
    return True


def normalise(
    path: str,
    body: dict[str, Any],
    raw_bytes: int,
    service: Service,
    adapter: str = "",
    media_hosts: Collection[str] = (),
) -> Asked:
    """`media_hosts`: from where an engine may fetch what messages name."""
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    stream = _flag(body, "stream")
    for name in DROPPED:
        body.pop(name, None)
    if stream:
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    prompts, token_ids = _check_prompt(path, body, media_hosts)
    per_prompt = _count(body, "n", 1)
    choices = prompts * max(per_prompt, _count(body, "best_of", 1))
    if choices > MAX_CHOICES:
        message = f"The request asks for {choices} outputs; at most {MAX_CHOICES} are allowed."
        raise errors.invalid(message, "n")
    max_tokens, modifiers = _bound_output(body, service)
    return Asked(
        path=path,
        model=adapter or service.name,
        body=body,
        body_bytes=raw_bytes,
        stream=stream,
        wants_usage=stream and options.get("include_usage") is True,
        wants_continuous_usage=stream and options.get("continuous_usage_stats") is True,
        max_tokens=max_tokens,
        choices=choices,
        outputs_per_prompt=per_prompt,
        prompt_token_ids=token_ids,
        modifiers=modifiers,
        is_adapter=bool(adapter),
    )


def retarget(asked: Asked, service: Service) -> Asked:
    """The same request for a service that stands in: its name, so also its salt.

    An adapter has one name wherever it is.
    """
    if asked.is_adapter:
        return asked
    return replace(asked, model=service.name, body=asked.body | {"model": service.name})


def encode(asked: Asked, *, salt: str, priority: int | None) -> bytes:
    """Write the body for one pool. `priority` is None where the engine does not schedule by it."""
    body = dict(asked.body)
    body["cache_salt"] = salt
    if priority is not None:
        body["priority"] = priority
    return orjson.dumps(body)


@lru_cache(maxsize=4096)
def cache_salt(secret: bytes, epoch: int, tenant_id: int, model: str) -> str:
    """Return the salt that keeps the prefix cache of one tenant and model apart.

    43 characters of base64url: vLLM refuses `/`, so the standard alphabet will not do.
    """
    of_epoch = hmac.digest(secret, b"epoch:%d" % epoch, hashlib.sha256)
    name = model.encode()
    joined = b"%d:%d:%b" % (tenant_id, len(name), name)
    digest = hmac.digest(of_epoch, joined, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise errors.invalid(f"'{name}' must be true or false.", name)
    return value


def _count(body: dict[str, Any], name: str, default: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise errors.invalid(f"'{name}' must be a whole number of at least 1.", name)
    return value


def _check_prompt(path: str, body: dict[str, Any], media_hosts: Collection[str]) -> tuple[int, int]:
    """Return how many prompts there are, and how many token ids they hold."""
    if path == CHAT:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise errors.invalid("'messages' must be a list with at least one message.", "messages")
        if not all(isinstance(message, dict) for message in messages):
            raise errors.invalid("Each message must be an object.", "messages")
        check_media(messages, media_hosts)
        return 1, 0
    return _check_text_prompt(body.get("prompt"))


def _check_text_prompt(prompt: object) -> tuple[int, int]:
    if isinstance(prompt, str) and prompt:
        return 1, 0
    if not isinstance(prompt, list) or not prompt:
        raise errors.invalid("'prompt' must be a text or a list of texts or token ids.", "prompt")
    if all(type(part) is int for part in prompt):
        return 1, len(prompt)
    if all(isinstance(part, str) for part in prompt):
        return len(prompt), 0
    if all(isinstance(part, list) and all(type(i) is int for i in part) for part in prompt):
        return len(prompt), sum(len(part) for part in prompt)
    raise errors.invalid("'prompt' must be a text or a list of texts or token ids.", "prompt")


def _bound_output(body: dict[str, Any], service: Service) -> tuple[int, tuple[str, ...]]:
    """Inject `max_tokens` where it is missing and cap it where it is too high."""
    asked = [
        _count(body, name, 0)
        for name in ("max_tokens", "max_completion_tokens")
        if body.get(name) is not None
    ]
    body.pop("max_completion_tokens", None)
    wanted = min(asked) if asked else min(service.default_max_tokens, service.max_model_len)
    bounded = min(wanted, service.max_model_len)
    body["max_tokens"] = bounded
    if isinstance(body.get("min_tokens"), int):
        body["min_tokens"] = max(0, min(body["min_tokens"], bounded))
    else:
        body.pop("min_tokens", None)
    if isinstance(body.get("prompt_logprobs"), int):
        body["prompt_logprobs"] = max(0, min(body["prompt_logprobs"], MAX_PROMPT_LOGPROBS))
    else:
        body.pop("prompt_logprobs", None)
    return bounded, ("max_tokens_capped",) if bounded < wanted else ()
