"""Put a recorded prompt to one replica, past the gateway: nobody is billed for it."""

import json
import time
from typing import Any

import httpx

from fleet.clients.engine import PLAIN
from fleet.clients.whole import TooLong, ask_whole
from fleet.rules.contract.answers import Said
from fleet.rules.contract.prompts import Prompt, request_of

SECONDS = 15.0  # of one answer, however slowly it comes
LARGEST = 256 * 1024  # bytes of an answer


def put(address: str, service: str, prompt: Prompt, seconds: float = SECONDS) -> Said:
    """`address`: host:port of one pod. Trouble is part of the answer, nothing is raised."""
    started = time.monotonic()
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False, verify=PLAIN) as http:
            context = context_of(http, started + seconds) if prompt.kind == "too_long" else 0
            path, body = request_of(prompt, service, context)
            status, document = read(http, "POST", path, body, started + seconds)
    except httpx.TimeoutException:
        return Said(0, trouble=f"no answer within {seconds:g} s")
    except TooLong as error:
        return Said(0, trouble=str(error))
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, TypeError, ValueError) as error:
        return Said(0, trouble=f"no answer: {error or type(error).__name__}"[:200])
    return Said(status, document, (time.monotonic() - started) * 1000)


def context_of(http: httpx.Client, until: float) -> int:
    """Tokens that the replica says it takes."""
    _, document = read(http, "GET", "/v1/models", None, until)
    return int(document["data"][0]["max_model_len"])


def read(http: httpx.Client, method: str, path: str, body: Any, until: float) -> tuple[int, Any]:
    """Status and document, or text where it is no JSON; bounded in time and bytes."""
    answer = ask_whole(http, method, path, until, body=body, most=LARGEST)
    try:
        return answer.status_code, json.loads(answer.content)
    except (ValueError, RecursionError):
        return answer.status_code, answer.content.decode(errors="replace")[:1000]
