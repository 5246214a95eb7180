"""What an engine says that it runs with, against what its release's arguments promise.

vLLM tells its cache configuration as labels of `vllm:cache_config_info`, whose value is always 1.
Only what an argument names is compared: the rest is the engine's own choice.
"""

import re
from collections.abc import Iterable, Mapping

from fleet.rules.vllm_args import values_of

NAMED = {  # label by flag
    "--block-size": "block_size",
    "--kv-cache-dtype": "cache_dtype",
    "--gpu-memory-utilization": "gpu_memory_utilization",
    "--prefix-caching-hash-algo": "prefix_caching_hash_algo",
}
SWITCHED = {
    "--enable-prefix-caching": ("enable_prefix_caching", "True"),
    "--no-enable-prefix-caching": ("enable_prefix_caching", "False"),
}
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
CONFIG = "vllm:cache_config_info{"


def promised(arguments: Iterable[str]) -> dict[str, str]:
    """Labels that the arguments decide; of switches that exclude each other the last one wins."""
    found: dict[str, str] = {}
    for flag, value in values_of(arguments).items():
        if flag in NAMED:
            found[NAMED[flag]] = value
        elif flag in SWITCHED:
            label, said = SWITCHED[flag]
            found[label] = said
    return found


def read_config(metrics: str) -> dict[str, str]:
    """Of `/metrics` as text; empty where the engine says nothing (`--disable-log-stats`)."""
    line = next((text for text in metrics.splitlines() if text.startswith(CONFIG)), "")
    return dict(LABEL.findall(line))


def unlike(config: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The first difference in words. What an engine does not tell is no difference."""
    for label, value in sorted(wanted.items()):
        said = config.get(label)
        if said is not None and not _same(said, value):
            return f"runs with {label} {said}, its arguments say {value}"
    return ""


def _same(said: str, wanted: str) -> bool:
    try:
        return float(said) == float(wanted)
    except ValueError:
        return said == wanted
