"""Prefill on one engine, decode on another: the first reads the prompt, the second answers.

The first gets the request for one token and tells where its KV blocks wait; the second gets the
whole request with that. What a client sends of it is dropped (`normalise`): it could name any host.
Both engines are of one pool, so of one release: blocks of other weights would be read as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from gateway import errors
from gateway.attempts import BROKEN, AttemptError, broken, engine_refusal
from gateway.contract.routing import Endpoint
from gateway.normalise import Asked
from gateway.stream import Observed

ASK = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
# Of the answer, which this engine does not give.
OF_THE_ANSWER = ("stream_options", "min_tokens", "n", "best_of", "logprobs", "top_logprobs")


@dataclass(frozen=True, slots=True)
class Read:
    """`blocks` None: it handed nothing over, as where the first token ends the answer; the second
    engine reads the prompt itself then. `cached`: tokens of the prompt that the first engine knew
    already; the second cannot tell them from those that it was handed.
    """

    blocks: dict[str, Any] | None
    cached: int


def reading(asked: Asked) -> Asked:
    """The request as the first engine gets it."""
    kept = {k: v for k, v in asked.body.items() if k not in OF_THE_ANSWER}
    only = {"stream": False, "max_tokens": 1, "kv_transfer_params": ASK}
    return replace(asked, body=kept | only)


def handed(asked: Asked, blocks: dict[str, Any] | None) -> Asked:
    """The request as the second engine gets it."""
    if blocks is None:
        return asked
    return replace(asked, body=asked.body | {"kv_transfer_params": blocks})


async def prefill(
    session: aiohttp.ClientSession,
    at: Endpoint,
    path: str,
    body: bytes,
    request_id: str,
    timeout: aiohttp.ClientTimeout,
) -> Read:
    """Raise AttemptError where another engine may read it, Refusal where none will."""
    try:
        async with session.post(
            f"http://{at.address}{path}",
            data=body,
            headers={"content-type": "application/json", "x-request-id": request_id},
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            answer = await response.read()
    except aiohttp.ConnectionTimeoutError as error:
        raise broken(error, at=at) from error
    except TimeoutError:
        refusal = errors.upstream_timeout("The engine that reads the prompt sent nothing in time.")
        raise AttemptError(refusal, at=at) from None
    except BROKEN as error:
        raise broken(error, at=at) from error
    if response.status != 200:
        raise engine_refusal(response.status, answer, at=at)
    return read_answer(answer)


def read_answer(answer: bytes) -> Read:
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        text = "The engine that read the prompt answered what is no JSON."
        raise errors.upstream_failed(text) from error
    found = told if isinstance(told, dict) else {}
    blocks, usage, observed = found.get("kv_transfer_params"), found.get("usage"), Observed()
    if isinstance(usage, dict):
        observed.take_final(usage)
    return Read(blocks if isinstance(blocks, dict) else None, observed.cached)
