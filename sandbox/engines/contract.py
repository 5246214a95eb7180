"""Ask a real vLLM and a stand-in the same things and compare the shape of the answers.

    python contract.py REAL_IP STAND_IN_IP

Both need: --served-model-name tiny --max-model-len 2048 --max-num-seqs 4
--enable-prompt-tokens-details and a custom fingerprint.  Compared are status, headers,
the keys and types of every JSON object (each event of a stream), error texts without
numbers, and the names, labels and label values of the metrics.  Not compared: texts,
token counts, times.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
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
STREAM = {"stream": True}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
CONTINUOUS = {
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
CASES: list[tuple[str, str, Json | bytes | None]] = [
    ("GET", "/health", None), ("GET", "/ping", None), ("GET", "/version", None), ("GET", "/load", None),
    ("GET", "/v1/models", None), ("GET", "/nope", None), ("GET", "/v1/completions", None),
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
]  # fmt: skip
# Parts of vLLM's metrics page which the stand-in does not have, on purpose.
NOT_IMITATED = re.compile(
    r"^(python_|process_|http_request_duration_highr|http_re\w+_size_bytes|http_\w+_created)"
)


def ask(
    ip: str, method: str, path: str, body: Json | bytes | None
) -> tuple[int, dict[str, str], str]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(ip, 8000, timeout=60)) as conn:
        conn.request(method, path, data, {"content-type": "application/json"})
        response = conn.getresponse()
        return (
            response.status,
            {k.lower(): v for k, v in response.getheaders()},
            response.read().decode(),
        )


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
        shapes: Any = [e if e == "[DONE]" else shape(json.loads(e)) for e in events]
    else:
        shapes = shape(json.loads(body)) if "json" in kind else bool(body)
    names = sorted(set(headers) - {"date"})
    return {"status": status, "headers": names, "type": kind, "body": shapes}


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


def compare(real: str, double: str) -> tuple[int, list[str]]:
    """(number of cases, what differs); each case is asked once before it counts."""
    out = []
    for method, path, body in CASES:
        for ip in (real, double):  # the second answer is the one with a warm prefix cache
            ask(ip, method, path, body)
        a, b = (answer_shape(*ask(ip, method, path, body)) for ip in (real, double))
        difference = first_difference(a, b)
        if difference:
            out.append(
                f"{method} {path} {str(body)[:60] if body else ''}: real and stand-in differ at {difference}"
            )
    a_set, b_set = (metric_series(ask(ip, "GET", "/metrics", None)[2]) for ip in (real, double))
    out += [f"metric only in vLLM: {m}" for m in sorted(a_set - b_set)]
    out += [f"metric only in the stand-in: {m}" for m in sorted(b_set - a_set)]
    return len(CASES) + 1, out


if __name__ == "__main__":
    count, differences = compare(sys.argv[1], sys.argv[2])
    print(*differences, f"{count} cases, {len(differences)} differences", sep="\n")
    sys.exit(bool(differences))
