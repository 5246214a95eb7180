"""Arguments of `vllm serve` (0.32): which exist, which are ours, which cannot be combined."""

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

# Set by the console itself; `why` completes "... is set by the console: ".
RESERVED = {
    "--host": "pods listen on their own address",
    "--port": "probes and gateways use 8000",
    "--model": "it comes from the model version",
    "--served-model-name": "it is the name of the service",
    "--revision": "it is the commit of the model version",
    "--tokenizer-revision": "it is the tokenizer's commit of the model version",
    "--code-revision": "it is the code's commit of the model version",
    "--fingerprint-mode": "answers must prove which release they come from",
    "--fingerprint-value": "answers must prove which release they come from",
    "--shutdown-timeout": "give drain_seconds instead, so that the pod's grace rises with it",
    "--disable-access-log-for-endpoints": "probes would fill the log",
    "--disable-fastapi-docs": "pages of the engine are never exposed",
    "--enable-prompt-tokens-details": "cached tokens have their own price",
}
FORBIDDEN = {
    "--api-key": "The network keeps strangers out, and an argument is no place for a secret",
    "--config": "A file would hide arguments from the digest of the release",
    "--disable-log-stats": "Without statistics there is nothing to judge the release by",
    "--enable-scale-out": "Its endpoints have no authentication",
    "--ssl-keyfile": "Pods speak plain HTTP inside the cluster; TLS ends at the gateway",
    "--uvicorn-log-level": "It changes nothing that a release should pin",
}
SWITCHES = frozenset(
    [
        "--enable-prefix-caching",
        "--no-enable-prefix-caching",
        "--enable-chunked-prefill",
        "--no-enable-chunked-prefill",
        "--enforce-eager",
        "--trust-remote-code",
        "--enable-lora",
        "--enable-sleep-mode",
        "--enable-auto-tool-choice",
        "--enable-server-load-tracking",
        "--enable-request-id-headers",
        "--enable-mfu-metrics",
        "--kv-cache-metrics",
        "--async-scheduling",
        "--no-async-scheduling",
        "--enable-expert-parallel",
        "--data-parallel-external-lb",
        "--data-parallel-hybrid-lb",
        "--disable-custom-all-reduce",
        "--skip-tokenizer-init",
        "--disable-cascade-attn",
        "--calculate-kv-scales",
        "--enable-log-requests",
        "--no-enable-log-requests",
        "--language-model-only",
        "--disable-sliding-window",
    ]
)
WHOLE = frozenset(
    [
        "--max-model-len",
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--max-num-queued-reqs",
        "--max-num-queued-tokens",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--data-parallel-size",
        "--data-parallel-size-local",
        "--data-parallel-rank",
        "--block-size",
        "--seed",
        "--max-loras",
        "--max-lora-rank",
        "--max-cpu-loras",
        "--max-logprobs",
        "--num-gpu-blocks-override",
        "--api-server-count",
        "--max-parallel-loading-workers",
        "--max-seq-len-to-capture",
        "--kv-cache-memory-bytes",
        "--stream-interval",
        "--decode-context-parallel-size",
    ]
)
NUMBERS = frozenset(
    [
        "--gpu-memory-utilization",
        "--device-memory-utilization",
        "--kv-offloading-size",
        "--swap-space",
        "--cpu-offload-gb",
    ]
)
DOCUMENTS = frozenset(
    [
        "--kv-transfer-config",
        "--speculative-config",
        "--compilation-config",
        "--hf-overrides",
        "--generation-config-overrides",
        "--override-generation-config",
        "--limit-mm-per-prompt",
        "--mm-processor-kwargs",
        "--default-chat-template-kwargs",
        "--additional-config",
        "--lora-modules",
        "--rope-scaling",
        "--kv-events-config",
        "--eplb-config",
    ]
)
TEXTS = frozenset(
    [
        "--dtype",
        "--quantization",
        "--kv-cache-dtype",
        "--load-format",
        "--tokenizer",
        "--tokenizer-mode",
        "--attention-backend",
        "--distributed-executor-backend",
        "--scheduling-policy",
        "--chat-template",
        "--chat-template-content-format",
        "--tool-call-parser",
        "--reasoning-parser",
        "--runner",
        "--convert",
        "--generation-config",
        "--prefix-caching-hash-algo",
        "--kv-offloading-backend",
        "--config-format",
        "--model-impl",
        "--lora-dtype",
        "--data-parallel-address",
        "--data-parallel-rpc-port",
        "--data-parallel-backend",
        "--download-dir",
        "--ignore-patterns",
        "--moe-backend",
        "--all2all-backend",
        "--mm-encoder-tp-mode",
        "--optimization-level",
        "--device",
    ]
)
VALUED = WHOLE | NUMBERS | DOCUMENTS | TEXTS
KNOWN = SWITCHES | VALUED
SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
    "-O": "--optimization-level",
}
CONNECTORS = frozenset(
    [
        "ExampleConnector",
        "LMCacheConnectorV1",
        "LMCacheMPConnector",
        "NixlConnector",
        "NixlPullConnector",
        "NixlPushConnector",
        "MultiConnector",
        "HiSparseConnector",
        "MoRIIOConnector",
        "OffloadingConnector",
        "DecodeBenchConnector",
        "MooncakeConnector",
        "MooncakeStoreConnector",
        "FlexKVConnectorV1",
        "SimpleCPUOffloadConnector",
        "HF3FSKVConnector",
    ]
)


def normalise(words: Iterable[str]) -> tuple[str, ...]:
    """Write each argument as "--flag" or "--flag=value"; raise ValueError with a sentence."""
    found: list[str] = []
    wants_value = False
    for word in (w for line in words for w in _split(line)):
        if not word.startswith("-") or _is_number(word):
            if not wants_value:
                raise ValueError(f"{word} stands alone: each argument begins with --")
            found[-1] += f"={word}"
            wants_value = False
            continue
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag).replace("_", "-")
        found.append(f"{flag}={value}" if equals else flag)
        wants_value = not equals and flag not in SWITCHES
    return tuple(found)


def _split(line: str) -> list[str]:
    """A line may hold a flag and its value; JSON values may hold spaces."""
    line = line.strip()
    if not line or line.startswith("#"):
        return []
    flag, space, value = line.partition(" ")
    return [flag, value.strip()] if space and flag.startswith("-") and "=" not in flag else [line]


def _is_number(word: str) -> bool:
    return word.lstrip("-").replace(".", "", 1).isdigit()


def values_of(arguments: Iterable[str]) -> dict[str, str]:
    """Value by flag; the last one wins, as in vLLM. A switch has an empty value."""
    return {flag: value for flag, _, value in (a.partition("=") for a in arguments)}


def number_of(values: Mapping[str, str], flag: str, default: int) -> int:
    return int(values[flag]) if values.get(flag, "").isdigit() else default


def refusals(arguments: Iterable[str]) -> Iterator[str]:
    """A sentence for each argument that cannot be."""
    values = values_of(arguments)
    for flag, value in values.items():
        if sentence := _refuse_flag(flag) or _refuse_value(flag, value):
            yield sentence
    yield from _combinations(values)


def _refuse_flag(flag: str) -> str:
    if flag in RESERVED:
        return f"{flag} is set by the console: {RESERVED[flag]}"
    if flag in FORBIDDEN:
        return f"{flag} is refused. {FORBIDDEN[flag]}"
    if flag not in KNOWN:
        near = get_close_matches(flag, sorted(KNOWN), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"vLLM 0.32 has no {flag} that this console knows{hint}"
    return ""


def _refuse_value(flag: str, value: str) -> str:
    if flag in SWITCHES:
        return f"{flag} takes no value, not {value!r}" if value else ""
    if not value:
        return f"{flag} needs a value"
    if flag in WHOLE and not value.lstrip("-").isdigit():
        return f"{flag} needs a whole number, not {value!r}"
    if flag in NUMBERS and not _is_number(value):
        return f"{flag} needs a number, not {value!r}"
    if flag.endswith("-memory-utilization") and not 0 < float(value) <= 1:
        return f"{flag} is a share of the card's memory, above 0 and at most 1, not {value}"
    return _refuse_document(flag, value) if flag in DOCUMENTS else ""


def _refuse_document(flag: str, value: str) -> str:
    try:
        parsed = json.loads(value)
    except ValueError as error:
        return f"{flag} needs JSON: {error}"
    return _refuse_transfer(parsed) if flag == "--kv-transfer-config" else ""


def _refuse_transfer(parsed: Any) -> str:
    if not isinstance(parsed, dict):
        return "--kv-transfer-config needs a JSON object"
    text = json.dumps(parsed)
    if "kv_connector_module_path" in text:
        return "--kv-transfer-config: kv_connector_module_path would load any Python file; refused"
    if '"enforce_handshake_compat": false' in text:
        return "--kv-transfer-config: enforce_handshake_compat false would mix KV of two releases"
    connector = parsed.get("kv_connector")
    if connector and connector not in CONNECTORS:
        return f"--kv-transfer-config: vLLM 0.32 has no connector {connector}"
    if connector and parsed.get("kv_role") not in ("kv_producer", "kv_consumer", "kv_both"):
        return "--kv-transfer-config: a connector needs kv_role kv_producer, kv_consumer or kv_both"
    return ""


def _combinations(values: Mapping[str, str]) -> Iterator[str]:
    pairs = (
        ("--enable-prefix-caching", "--no-enable-prefix-caching"),
        ("--enable-chunked-prefill", "--no-enable-chunked-prefill"),
        ("--async-scheduling", "--no-async-scheduling"),
        ("--data-parallel-external-lb", "--data-parallel-hybrid-lb"),
        ("--gpu-memory-utilization", "--kv-cache-memory-bytes"),
    )
    for one, other in pairs:
        if one in values and other in values:
            yield f"{one} and {other} exclude each other"
    for flag in ("--max-loras", "--max-lora-rank", "--lora-modules"):
        if flag in values and "--enable-lora" not in values:
            yield f"{flag} does nothing without --enable-lora"
    if "--enable-auto-tool-choice" in values and "--tool-call-parser" not in values:
        yield "--enable-auto-tool-choice needs --tool-call-parser"
