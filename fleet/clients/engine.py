"""Ask a replica who it is: version, models, and some short completions past the gateway."""

import ssl
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import httpx
import msgspec

from fleet.clients.readable import plain, readable
from fleet.clients.whole import ask_whole
from fleet.rules.engine_metrics import samples
from fleet.rules.running import read_config
from fleet.rules.verify import PASSES, TOKENS, Answers

# Of one answer. A cold engine may need longer for its first one: the next pass asks again.
SECONDS = 8.0
# Engines speak plain HTTP: to load everybody's certificates takes longer than the questions.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
BODY = {"prompt": "ping", "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
CORRUPTED = "vllm:corrupted_requests_total"  # only where VLLM_COMPUTE_NANS_IN_LOGITS is set
HANDS_OVER = {
    "max_tokens": 1,
    "kv_transfer_params": {"do_remote_decode": True, "do_remote_prefill": False},
}
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Answer = TypeVar("Answer")


class Version(msgspec.Struct):
    version: str


class Model(msgspec.Struct):
    id: str
    max_model_len: Count | None = None


class Models(msgspec.Struct):
    data: list[Model]


class Usage(msgspec.Struct):
    prompt_tokens: Count | None = 0
    completion_tokens: Count | None = 0


class Choice(msgspec.Struct):
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """What is read of an answer. One that says something else under these names is none."""

    choices: list[Choice] = []
    usage: Usage | None = None
    system_fingerprint: str | None = None
    kv_transfer_params: dict[str, Any] | None = None

    @property
    def finish_reason(self) -> str:
        return (self.choices[0].finish_reason or "") if self.choices else ""


def ask(address: str, service: str) -> Answers:
    """`address`: host:port of one pod. Trouble is part of the answer, nothing is raised."""
    return put_questions(address, service, lambda body: {})


def ask_pair(prefill: str, decode: str, service: str) -> Answers:
    """The decode pod, each time with blocks that the prefill pod has just handed over."""
    return put_questions(decode, service, lambda body: handed_over(prefill, body))


def handed_over(prefill: str, body: dict[str, Any]) -> dict[str, Any]:
    with client(prefill) as http:
        answer = within(http, "POST", "/v1/completions", body | HANDS_OVER)
        given = read(answer, Completion).kv_transfer_params
    if not given:
        raise ValueError("prefill handed no blocks over")
    return {"kv_transfer_params": given}


def put_questions(
    address: str, service: str, more: Callable[[dict[str, Any]], dict[str, Any]]
) -> Answers:
    started = time.monotonic()
    said: dict[str, Any] = {}
    completions: list[Completion] = []
    trouble = ""
    try:
        with client(address) as http:
            said["version"] = read(within(http, "GET", "/version"), Version).version
            models = read(within(http, "GET", "/v1/models"), Models).data
            said["models"] = tuple(m.id for m in models)
            said["max_model_len"] = models[0].max_model_len if models else None
            page = told_metrics(http)
            said["config"] = read_config(page)
            said["corrupted"] = corrupted(page)
            for _ in range(PASSES):
                body = BODY | {"model": service}
                answer = within(http, "POST", "/v1/completions", body | more(body))
                completions.append(read(answer, Completion))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        trouble = told(error)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        trouble = plain(f"an answer that is none of vLLM's: {error}")
    milliseconds = (time.monotonic() - started) * 1000
    return Answers(
        **said, **read_completions(completions), milliseconds=milliseconds, trouble=trouble
    )


def told_metrics(http: httpx.Client) -> str:
    """Empty where the engine has none: what a release may switch off is no fault of a replica."""
    answer = within(http, "GET", "/metrics")
    return plain(answer.text) if answer.status_code == httpx.codes.OK else ""


def corrupted(page: str) -> float | None:
    found = [value for name, value in samples(page) if name == CORRUPTED]
    return sum(found) if found else None


def client(address: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://{address}", trust_env=False, verify=PLAIN)


def within(
    http: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    return ask_whole(http, method, path, time.monotonic() + SECONDS, body=body)


def read(response: httpx.Response, kind: type[Answer]) -> Answer:
    response.raise_for_status()
    return msgspec.json.decode(readable(response.content), type=kind)


def read_completions(completions: list[Completion]) -> dict[str, Any]:
    usages = [c.usage or Usage() for c in completions]
    return {
        "fingerprints": tuple(c.system_fingerprint or "" for c in completions),
        "tokens": tuple(u.completion_tokens or 0 for u in usages),
        "reasons": tuple(c.finish_reason for c in completions),
        "prompt_tokens": sum(u.prompt_tokens or 0 for u in usages),
    }


def told(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, httpx.HTTPStatusError):
        return f"answered {error.response.status_code} to {error.request.url.path}"
    return str(error) or type(error).__name__
