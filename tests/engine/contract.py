"""Ask a real vLLM and a stand-in the same things and compare the shape of the answers.

Both need: --served-model-name tiny --max-model-len 2048 --max-num-seqs 4
--enable-prompt-tokens-details and a custom fingerprint. Compared are status, headers, the keys
and types of every JSON object (each kind of event of a stream), error texts without numbers, and
the names, labels and label values of the metrics. Not compared: texts, token counts, times.
"""

import http.client
import json
import re
from contextlib import closing
from typing import Any

Json = dict[str, Any]
TEXT = "hello world " * 40
CHAT = {
    "model": "tiny",
    "messages": [{"role": "user", "content": TEXT}],
    "max_tokens": 3,
    "ignore_eos": True,
}
COMPLETION = {"model": "tiny", "prompt": TEXT, "max_tokens": 3, "ignore_eos": True}
# More than a busy engine puts into its first event, which has keys of its own.
STREAM = {"max_tokens": 64, "stream": True}
USAGE = STREAM | {"stream_options": {"include_usage": True}}
CONTINUOUS = STREAM | {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
Case = tuple[str, str, Json | bytes | None]
Address = tuple[str, int]
CASES: list[Case] = [
    *[("GET", f"/{path}", None) for path in ("health", "ping", "version", "load", "nope")],
    *[("GET", f"/v1/{path}", None) for path in ("models", "completions")],
    *[("POST", "/v1/completions", COMPLETION | extra) for extra in ({}, STREAM, USAGE, CONTINUOUS)],
    *[("POST", "/v1/chat/completions", CHAT | extra) for extra in ({}, STREAM, USAGE, CONTINUOUS)],
    ("POST", "/v1/completions", COMPLETION | {"model": "nope"}),
    ("POST", "/v1/completions", b'{"model":'),
    ("POST", "/v1/completions", {"model": "tiny", "max_tokens": 3}),
    ("POST", "/v1/chat/completions", {"model": "tiny", "max_tokens": 3}),
    ("POST", "/v1/completions", COMPLETION | {"max_tokens": 99999}),
    ("POST", "/v1/completions", COMPLETION | {"max_tokens": -1}),
    ("POST", "/v1/completions", COMPLETION | {"prompt": "hello " * 5000}),
    ("POST", "/v1/completions", COMPLETION | {"stream_options": {"include_usage": True}}),
    ("POST", "/v1/completions", COMPLETION | {"prompt": ["a", "b"]}),
    ("POST", "/v1/completions", COMPLETION | {"prompt": [1, 2, 3]}),
    ("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}),
    ("POST", "/v1/completions", b"[1]"),
    ("POST", "/v1/completions", COMPLETION | {"max_tokens": "a"}),
    ("POST", "/v1/completions", COMPLETION | {"stream": "maybe"}),
    ("POST", "/v1/chat/completions", b'{"model": "tiny", "messages": [{]}'),
    ("POST", "/v1/chat/completions", CHAT | {"messages": "hi"}),
]
# Parts of vLLM's metrics page which the stand-in does not have, on purpose.
NOT_IMITATED = re.compile(
    r"^(python_|process_|http_request_duration_highr|http_re\w+_size_bytes|http_\w+_created)"
)


def ask(at: Address, case: Case) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the second answer, the one with a warm prefix cache."""
    _ask_once(at, case)
    return _ask_once(at, case)


def _ask_once(at: Address, case: Case) -> tuple[int, dict[str, str], str]:
    method, path, body = case
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(*at, timeout=60)) as conn:
        conn.request(method, path, data, {"content-type": "application/json"})
        response = conn.getresponse()
        headers = {k.lower(): v for k, v in response.getheaders()}
        return response.status, headers, response.read().decode()


def shape(value: Any, key: str = "") -> Any:
    """Keys and types; the first element stands for a list; some values count themselves."""
    if isinstance(value, dict):
        return {k: shape(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if key in ("object", "model", "finish_reason", "type", "param", "code", "role"):
        return value
    if key == "message" and isinstance(value, str):
        return re.sub(r"\d+", "N", value)
    return type(value).__name__


def answer_shape(status: int, headers: dict[str, str], body: str) -> Json:
    kind = headers.get("content-type", "")
    if "event-stream" in kind:
        events = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
        shapes: Any = merged([e if e == "[DONE]" else shape(json.loads(e)) for e in events])
    else:
        shapes = shape(json.loads(body)) if "json" in kind else bool(body)
    names = sorted(set(headers) - {"date"})
    return {"status": status, "headers": names, "type": kind, "body": shapes}


def merged(events: list[Any]) -> list[Any]:
    """Like events in a row count as their last one: a busy engine puts several tokens in one."""
    kept: list[Any] = []
    for event in events:
        if kept and unfinished(kept[-1]) == unfinished(event):
            kept[-1] = event
        else:
            kept.append(event)
    return kept


def unfinished(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    return event | {"choices": [c | {"finish_reason": None} for c in event.get("choices", [])]}


def first_difference(a: Any, b: Any, at: str = "") -> str | None:
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"{at}: keys {sorted(set(a) ^ set(b)) or 'in another order'}"
        pairs: Any = ((f"{at}.{k}", a[k], b[k]) for k in a)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{at}: {len(a)} and {len(b)} elements"
        pairs = ((f"{at}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        return None if a == b else f"{at}: {a!r} and {b!r}"
    return next((d for p, x, y in pairs if (d := first_difference(x, y, p))), None)


def metric_series(page: str) -> set[str]:
    """name{label names}, with the values of the labels that are enumerations."""
    found = set()
    for line in page.splitlines():
        if line.startswith("#") or NOT_IMITATED.match(line):
            continue
        name, _, labels = line.rpartition(" ")[0].partition("{")
        if name == "vllm:cache_config_info":
            labels = ""  # the stand-in has a part of its labels
        pairs = re.findall(r'(\w+)="([^"]*)"', labels)
        shown = [
            k if k in ("model_name", "handler", "method", "status") else f"{k}={v}"
            for k, v in sorted(pairs)
        ]
        found.add(f"{name}{{{','.join(shown)}}}")
    return found
