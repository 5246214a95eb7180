"""Whether weights and one longest request fit on the cards, from a model's own configuration."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fleet.rules.release import ReleaseSpec
from fleet.rules.vllm_args import number_of, values_of

GIB = 2**30
USED = 0.92  # vLLM's own default share of a card
CARDS = {"A10": 24, "A30": 24, "B200": 180, "B300": 270, "GB200": 186, "GH200": 96, "H200": 141,
         "L4": 24, "L40": 48, "L40S": 48, "T4": 16}  # fmt: skip
ONE_BYTE = ("fp8", "int8", "nvfp4", "int4")


@dataclass(frozen=True, slots=True)
class Shape:
    layers: int
    kv_heads: int
    head_size: int
    positions: int  # that the model was made for
    bytes_each: int  # of a number in the cache, as the weights
    weight_bytes: int  # of all files of weights; 0: not known

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def read_shape(config: Mapping[str, Any], weight_bytes: int) -> Shape | None:
    """From config.json. None: it is of a kind whose cache cannot be told from it."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, Mapping)
    heads = _whole(text, "num_attention_heads")
    found = {
        "layers": _whole(text, "num_hidden_layers"),
        "kv_heads": _whole(text, "num_key_value_heads") or heads,
        "head_size": _whole(text, "head_dim")
        or (_whole(text, "hidden_size") // heads if heads else 0),
        "positions": _whole(text, "max_position_embeddings"),
    }
    # Latent attention and state space models keep something else than keys and values.
    other = any(name in text for name in ("kv_lora_rank", "mamba_d_state", "linear_num_key_heads"))
    if other or not all(found.values()):
        return None
    wide = str(text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype") or "")
    return Shape(**found, bytes_each=4 if "32" in wide else 2, weight_bytes=weight_bytes)


def card_gib(product: str) -> int | None:
    """Memory of one card by its product label; None: not known."""
    if found := re.search(r"(\d+)GB", product):
        return int(found[1])
    words = product.removeprefix("NVIDIA-").split("-")
    return CARDS.get(words[0])


def refuse_context(spec: ReleaseSpec, shape: Shape, promised: int) -> Iterator[str]:
    """Sentences about a context that the model or the cards do not have."""
    values = values_of(spec.arguments)
    length = number_of(values, "--max-model-len", promised)
    if length > shape.positions and "--hf-overrides" not in values:
        yield (
            f"A context of {length:,} tokens is more than the {shape.positions:,} positions of"
            f" {spec.model.name}: vLLM would not start"
        )
    card = card_gib(spec.resources.gpu_product)
    if card is None or not shape.weight_bytes or "--enable-expert-parallel" in values:
        return
    have = card * _share(values)
    weights = _weights(values, shape) / GIB
    cache = length * _per_token(values, shape) / GIB
    if weights + cache > have:
        short = weights + cache - have
        yield (
            f"One request of {length:,} tokens does not fit: weights {weights:.1f} GiB + its cache"
            f" {cache:.1f} GiB on each card, usable are {have:.1f} of {card} GiB: {short:.1f} GiB"
            " missing. Give a shorter --max-model-len, more GPUs or --kv-cache-dtype=fp8"
        )


def _share(values: Mapping[str, str]) -> float:
    for flag in ("--gpu-memory-utilization", "--device-memory-utilization"):
        if flag in values:
            return float(values[flag])
    return USED


def _weights(values: Mapping[str, str], shape: Shape) -> float:
    """Bytes on each card. Quantised while loading, they are at least half as large."""
    over = number_of(values, "--tensor-parallel-size", 1)
    over *= number_of(values, "--pipeline-parallel-size", 1)
    whole = shape.weight_bytes / (2 if "--quantization" in values else 1)
    moved = float(values.get("--cpu-offload-gb") or 0) * GIB
    return max(whole / over - moved, 0)


def _per_token(values: Mapping[str, str], shape: Shape) -> float:
    """Bytes of keys and values on each card; fewer heads than cards are kept more than once."""
    heads = max(shape.kv_heads / number_of(values, "--tensor-parallel-size", 1), 1)
    layers = shape.layers / number_of(values, "--pipeline-parallel-size", 1)
    small = values.get("--kv-cache-dtype", "auto").startswith(ONE_BYTE)
    spread = number_of(values, "--decode-context-parallel-size", 1)
    return 2 * layers * heads * shape.head_size * (1 if small else shape.bytes_each) / spread


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
