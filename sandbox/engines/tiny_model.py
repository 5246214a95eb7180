"""A model without weights: a two-layer Llama and a byte-level tokenizer, the same bytes every time.

The engine fills it with random weights (--load-format dummy), so nothing is downloaded.
"""

import hashlib
import json
from pathlib import Path

SPECIAL = ("<s>", "</s>", "<unk>")
CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
POSITIONS = 4096


def byte_alphabet() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level tokenizers, sorted."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [chr(256 + i) for i in range(256 - len(plain))]
    return sorted([*map(chr, plain), *others])


def _vocabulary() -> dict[str, int]:
    return {token: i for i, token in enumerate((*SPECIAL, *byte_alphabet()))}


def _tokenizer() -> dict[str, object]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": i, "content": t, **flags, "special": True} for i, t in enumerate(SPECIAL)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": _vocabulary(),
            "merges": [],
        },
    }


def files() -> dict[str, str]:
    """Name and content of each file of the model."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "vocab_size": len(_vocabulary()) + 5,
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": POSITIONS,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    documents = {
        "config.json": config,
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": tokenizer_config,
    }
    return {name: json.dumps(value, indent=1) + "\n" for name, value in documents.items()}


def digest() -> str:
    """SHA-256 over all files: what a model version pins."""
    whole = hashlib.sha256()
    for name, text in sorted(files().items()):
        whole.update(f"{name}\0{len(text)}\0{text}".encode())
    return "sha256:" + whole.hexdigest()


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text)
    return folder
