"""Prometheus text of the stand-in engine, with the names, labels and buckets of vLLM 0.32.

Taken from a dump of a real vLLM 0.32.0 on CPU.  The `_created` gauges are there
on purpose: python's prometheus_client writes them and a query that matches by
prefix must survive them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field

_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
_STEP = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
         20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)  # fmt: skip
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        20.0, 40.0, 80.0)  # fmt: skip
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0,
        240.0, 480.0, 960.0, 1920.0, 7680.0)  # fmt: skip
HISTOGRAMS: dict[str, tuple[float, ...]] = {
    "request_prompt_tokens": _SIZES,
    "request_generation_tokens": _SIZES,
    "iteration_tokens_total": _STEP,
    "request_max_num_generation_tokens": _SIZES,
    "request_params_n": (1.0, 2.0, 5.0, 10.0, 20.0),
    "request_params_max_tokens": _SIZES,
    "time_to_first_token_seconds": _TTFT,
    "inter_token_latency_seconds": _ITL,
    "request_time_per_output_token_seconds": _ITL,
    "e2e_request_latency_seconds": _E2E,
    "request_queue_time_seconds": _E2E,
    "request_inference_time_seconds": _E2E,
    "request_prefill_time_seconds": _E2E,
    "request_decode_time_seconds": _E2E,
    "request_num_preemptions": (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0),
    "request_prefill_kv_computed_tokens": _SIZES,
}
# Label values that exist from the start, so that "absent" and "0" differ as in vLLM.
REASONS = ("stop", "length", "abort", "error", "repetition")
SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
TIERS = ("device", "host", "p2p", "disk", "external_unspecified")
PLAIN_COUNTERS = (
    "estimated_flops_per_gpu", "estimated_read_bytes_per_gpu", "estimated_write_bytes_per_gpu",
    "prefix_cache_queries", "prefix_cache_hits", "external_prefix_cache_queries",
    "external_prefix_cache_hits", "mm_cache_queries", "mm_cache_hits", "num_preemptions",
    "prompt_tokens", "prompt_tokens_cached", "generation_tokens",
)  # fmt: skip
HTTP_BUCKETS = (0.1, 0.5, 1.0)
# prometheus-fastapi-instrumentator leaves these handlers out in vLLM.
HTTP_EXCLUDED = frozenset({"/metrics", "/health", "/load", "/ping", "/version", "/server_info"})


@dataclass(slots=True)
class Histogram:
    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def lines(self, name: str, labels: str) -> list[str]:
        out, acc, sep = [], 0, "," if labels else ""
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            acc += count
            out.append(f'{name}_bucket{{{labels}{sep}le="{bound}"}} {float(acc)}')
        tail = f"{{{labels}}}" if labels else ""
        return [*out, f"{name}_count{tail} {float(acc)}", f"{name}_sum{tail} {self.total}"]


class Metrics:
    """Counters and histograms of one engine ("engine" label 0)."""

    def __init__(self, model: str, config: dict[str, str] | None = None) -> None:
        self.config = config or {}  # a part of vLLM's labels of cache_config_info
        self.base = f'engine="0",model_name="{model}"'
        self.model = model
        self.created = time.time()
        self.counters: dict[str, float] = dict.fromkeys(PLAIN_COUNTERS, 0.0)
        self.finished: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.by_source: dict[str, int] = dict.fromkeys(SOURCES, 0)
        self.rejections: dict[str, int] = {"max_num_queued_reqs": 0, "max_num_queued_tokens": 0}
        self.hist = {name: Histogram(bounds) for name, bounds in HISTOGRAMS.items()}
        self.http: dict[tuple[str, str, str], int] = {}
        self.http_seconds: dict[tuple[str, str], Histogram] = {}

    def http_done(self, handler: str, method: str, status: int, seconds: float) -> None:
        if handler in HTTP_EXCLUDED:
            return
        key = (handler, method, f"{status // 100}xx")
        self.http[key] = self.http.get(key, 0) + 1
        hist = self.http_seconds.get((handler, method))
        if hist is None:
            hist = self.http_seconds[handler, method] = Histogram(HTTP_BUCKETS)
        hist.observe(seconds)

    def render(self, running: int, waiting: int, kv_usage: float, hidden: frozenset[str]) -> bytes:
        """The whole page; families whose vllm: name is in hidden are left out."""
        out: list[str] = []
        b = self.base
        gauges: list[tuple[str, str, float]] = [
            ("num_requests_running", b, running),
            ("num_requests_waiting", b, waiting),
            ("num_requests_waiting_by_reason", f'{b},reason="capacity"', waiting),
            ("num_requests_waiting_by_reason", f'{b},reason="deferred"', 0),
            ("engine_sleep_state", f'{b},sleep_state="awake"', 1),
            ("engine_sleep_state", f'{b},sleep_state="weights_offloaded"', 0),
            ("engine_sleep_state", f'{b},sleep_state="discard_all"', 0),
            ("kv_cache_usage_perc", b, kv_usage),
        ]
        counters = [(name, b, value) for name, value in self.counters.items()]
        counters += [
            ("prompt_tokens_by_source", f'{b},source="{s}"', v) for s, v in self.by_source.items()
        ]
        hits = self.by_source["local_cache_hit"]
        counters += [
            ("prompt_tokens_cached_by_source", f'{b},source="{t}"', hits if t == "device" else 0)
            for t in TIERS
        ]
        counters += [
            ("request_success", f'{b},finished_reason="{r}"', v) for r, v in self.finished.items()
        ]
        counters += [
            ("admission_rejections", f'model_name="{self.model}",reason="{r}"', v)
            for r, v in self.rejections.items()
        ]
        _family(out, "gauge", gauges, hidden)
        _family(out, "counter", counters, hidden, created=self.created)
        for name, hist in self.hist.items():
            if name not in hidden:
                out.append(f"# TYPE vllm:{name} histogram")
                out += hist.lines(f"vllm:{name}", b)
                out.append(f"# TYPE vllm:{name}_created gauge")
                out.append(f"vllm:{name}_created{{{b}}} {self.created}")
        if "cache_config_info" not in hidden:
            out.append("# TYPE vllm:cache_config_info gauge")
            labels = ",".join(
                f'{k}="{v}"' for k, v in sorted({**self.config, "engine": "0"}.items())
            )
            out.append(f"vllm:cache_config_info{{{labels}}} 1.0")
        self._http_lines(out)
        return ("\n".join(out) + "\n").encode()

    def _http_lines(self, out: list[str]) -> None:
        out.append("# TYPE http_requests_total counter")
        for (handler, method, status), n in self.http.items():
            labels = f'handler="{handler}",method="{method}",status="{status}"'
            out.append(f"http_requests_total{{{labels}}} {float(n)}")
        out.append("# TYPE http_request_duration_seconds histogram")
        for (handler, method), hist in self.http_seconds.items():
            out += hist.lines(
                "http_request_duration_seconds", f'handler="{handler}",method="{method}"'
            )


def _family(
    out: list[str],
    kind: str,
    samples: list[tuple[str, str, float]],
    hidden: frozenset[str],
    created: float | None = None,
) -> None:
    """Append samples (consecutive ones of a name form a family)."""
    suffix = "_total" if kind == "counter" else ""
    names = list(dict.fromkeys(name for name, _, _ in samples))
    for name in names:
        if name in hidden:
            continue
        rows = [(labels, value) for n, labels, value in samples if n == name]
        out.append(f"# TYPE vllm:{name}{suffix} {kind}")
        out += [f"vllm:{name}{suffix}{{{labels}}} {float(value)}" for labels, value in rows]
        if created is not None:
            out.append(f"# TYPE vllm:{name}_created gauge")
            out += [f"vllm:{name}_created{{{labels}}} {created}" for labels, _ in rows]
