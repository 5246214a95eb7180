"""What changes between two releases, and what that means for clients and cost."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fleet.rules.release import ReleaseSpec
from fleet.rules.vllm_args import values_of

MEANS = {
    "--max-model-len": "Clients see another longest context; a smaller one refuses requests",
    "--max-num-seqs": "More or fewer requests at a time: throughput against latency",
    "--max-num-batched-tokens": "Prefill in larger or smaller pieces: time to first token",
    "--gpu-memory-utilization": "Another size of the KV cache: preemptions, risk of out of memory",
    "--kv-cache-dtype": "Another precision of the KV cache: capacity, and answers may differ",
    "--dtype": "Another precision of the weights: answers may differ",
    "--quantization": "Another precision of the weights: answers may differ",
    "--tensor-parallel-size": "Another number of GPUs a replica: cost and latency",
    "--pipeline-parallel-size": "Another number of GPUs a replica: cost and latency",
    "--enable-prefix-caching": "Cached tokens, which are cheaper, appear",
    "--no-enable-prefix-caching": "Cached tokens, which are cheaper, disappear",
    "--chat-template": "Prompts are put together in another way: answers differ",
    "--tool-call-parser": "Clients see tool calls in another way",
    "--reasoning-parser": "Clients see reasoning in another place",
    "--speculative-config": "Another latency between tokens",
    "--scheduling-policy": "Another order of waiting requests",
    "--kv-transfer-config": "Another KV domain: caches of the two releases never mix",
    "--enforce-eager": "No CUDA graphs: faster start, slower answers",
    "model": "Another model answers",
    "commit": "Other weights answer",
    "tokenizer_commit": "Tokens are counted in another way: bills change",
    "code_commit": "Other code of the model runs",
    "chat_template_digest": "Prompts are put together in another way: answers differ",
    "image": "Another build of the engine",
    "image_digest": "Another build of the engine",
    "gpu_product": "Other cards: cost and latency",
    "gpus": "Another number of GPUs a replica: cost",
    "startup_seconds": "Another deadline of starts",
    "drain_seconds": "Another time to finish requests when a replica goes away",
}
KV_SHAPING = frozenset(
    [
        "--kv-cache-dtype",
        "--block-size",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--dtype",
        "--kv-transfer-config",
        "--prefix-caching-hash-algo",
        "--quantization",
    ]
)


@dataclass(frozen=True, slots=True)
class Change:
    part: str  # model, image, arguments, environment, resources, probes
    name: str
    before: str  # empty: was not there
    after: str
    means: str


def compare(old: ReleaseSpec, new: ReleaseSpec) -> list[Change]:
    """All differences, in the order of a release's parts."""
    groups: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("model", asdict(old.model), asdict(new.model)),
        ("image", _image(old), _image(new)),
        ("arguments", values_of(old.arguments), values_of(new.arguments)),
        ("environment", old.environment, new.environment),
        ("resources", asdict(old.resources), asdict(new.resources)),
        ("probes", asdict(old.probes), asdict(new.probes)),
    )
    return [change for group in groups for change in _differences(*group)]


def visible_to_clients(changes: list[Change]) -> list[str]:
    """Sentences about what callers of the service will notice."""
    seen = {"--max-model-len", "--chat-template", "--tool-call-parser", "--reasoning-parser"}
    seen |= {"name", "commit", "tokenizer_commit", "chat_template_digest", "--kv-cache-dtype"}
    seen |= {"--dtype", "--quantization"}
    return [f"{c.name}: {c.means}" for c in changes if c.name in seen]


def changes_kv_domain(changes: list[Change]) -> bool:
    """Blocks of one release must never be read by the other."""
    return any(
        c.name in KV_SHAPING or (c.part in ("model", "image") and c.name != "licence")
        for c in changes
    )


def _image(spec: ReleaseSpec) -> dict[str, str]:
    return {"image": spec.image, "image_digest": spec.image_digest}


def _differences(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        before, after = _text(part, old, name), _text(part, new, name)
        if before != after:
            key = "model" if (part, name) == ("model", "name") else name
            yield Change(part, name, before, after, MEANS.get(key, ""))


def _text(part: str, values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return ""
    value = str(values[name])
    return "on" if part == "arguments" and not value else value
