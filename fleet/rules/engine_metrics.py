"""vLLM's /metrics as text, read for the few series that we keep. Absent is None, never 0."""

from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 2.0**53  # nothing counts so far, and no column takes much more
GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_usage",
}
COUNTERS = {
    "vllm:num_preemptions_total": "preemptions",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "generation_tokens",
    "vllm:prompt_tokens_cached_total": "cached_tokens",
    "vllm:iteration_tokens_total_count": "steps",  # engine steps: the heartbeat
}


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Summed over an engine's data-parallel ranks; `kv_usage` is that of the fullest."""

    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None  # 0 to 1
    preemptions: int | None = None
    prompt_tokens: int | None = None
    generation_tokens: int | None = None
    cached_tokens: int | None = None
    steps: int | None = None


def read_metrics(text: str) -> EngineMetrics:
    found: dict[str, float] = {}
    for name, value in samples(text):
        if field := GAUGES.get(name):
            known = found.get(field)
            if field == "kv_usage":
                found[field] = value if known is None else max(known, value)
            else:
                found[field] = value + (known or 0.0)
        elif field := COUNTERS.get(name):
            found[field] = value + found.get(field, 0.0)
    counted = {f: int(found[f]) for f in COUNTERS.values() if f in found}
    measured = {f: found[f] for f in GAUGES.values() if f in found}
    return EngineMetrics(**measured, **counted)  # type: ignore[arg-type]  # ints and floats apart


def samples(text: str) -> Iterator[tuple[str, float]]:
    """Name and value of each line; comments, labels and what is no likely number are dropped."""
    for line in text.splitlines():
        if line.startswith("#") or not line.startswith("vllm:"):
            continue
        name, brace, rest = line.partition("{")
        if not brace:
            name, _, rest = line.partition(" ")
        words = rest.rpartition("}")[2].split()
        try:
            value = float(words[0])
        except (IndexError, ValueError):
            continue
        if abs(value) < LARGEST:  # neither NaN nor infinite
            yield name, value
