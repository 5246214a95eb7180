"""Whether a context fits a model and its cards, with the figures of the sentence worked out."""

import pytest

from fleet.rules.model_shape import Shape, card_gib, read_shape, refuse_context
from fleet.rules.release import Resources
from tests.fleet.rules.walk import make_spec

LLAMA_70B = {
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 8192,
    "max_position_embeddings": 131_072,
    "torch_dtype": "bfloat16",
}
GIB = 2**30
SHAPE = Shape(80, 8, 128, 131_072, 2, 140 * GIB)


def refused(*arguments, gpus=4, product="NVIDIA-H100-80GB-HBM3", shape=SHAPE, promised=4096):
    spec = make_spec(arguments=arguments, resources=Resources(product, gpus))
    return list(refuse_context(spec, shape, promised))


def test_it_reads_a_shape_from_a_configuration():
    assert read_shape(LLAMA_70B, 140 * GIB) == SHAPE
    assert read_shape({"text_config": LLAMA_70B}, 0).layers == 80
    assert read_shape(LLAMA_70B | {"torch_dtype": "float32", "head_dim": 64}, 0) == Shape(
        80, 8, 64, 131_072, 4, 0
    )


@pytest.mark.parametrize("other", [{}, LLAMA_70B | {"kv_lora_rank": 512}, {"hidden_size": "8k"}])
def test_it_judges_no_model_whose_cache_it_cannot_tell(other):
    assert read_shape(other, 1) is None


def test_it_takes_a_context_that_fits():
    # 35 GiB of weights + 131,072 x 2 x 80 x 2 heads x 128 x 2 bytes = 10 GiB on each of 4 cards.
    assert refused("--tensor-parallel-size=4", promised=131_072) == []


def test_it_says_how_much_memory_is_missing():
    (told,) = refused("--tensor-parallel-size=2", gpus=2, promised=131_072)
    assert "weights 70.0 GiB + its cache 20.0 GiB on each card" in told
    assert "usable are 73.6 of 80 GiB: 16.4 GiB missing" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tensor-parallel-size=2", "--cpu-offload-gb=20"),
        ("--tensor-parallel-size=2", "--quantization=fp8"),
        ("--tensor-parallel-size=2", "--enable-expert-parallel"),
        ("--pipeline-parallel-size=4",),
    ],
    ids=str,
)
def test_it_counts_what_makes_room(arguments):
    assert refused(*arguments, gpus=2, promised=131_072) == []


def test_it_counts_a_smaller_cache():
    wide = ("--tensor-parallel-size=2", "--gpu-memory-utilization=1.0")
    assert refused(*wide, promised=131_072)
    assert refused(*wide, "--kv-cache-dtype=fp8", promised=131_072) == []


def test_it_judges_no_card_that_it_does_not_know():
    assert refused(product="", promised=131_072) == []
    assert refused(product="NVIDIA-Unheard", promised=131_072) == []
    cards = ["NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S", "NVIDIA-H200", "NVIDIA-A100-SXM4-40GB"]
    assert [card_gib(name) for name in cards] == [80, 48, 141, 40]


def test_it_refuses_more_positions_than_the_model_has():
    told = refused("--max-model-len=200000", "--tensor-parallel-size=8", gpus=8)
    assert told[0].startswith("A context of 200,000 tokens is more than the 131,072 positions")
    stretched = ("--max-model-len=200000", "--tensor-parallel-size=8", '--hf-overrides={"a": 1}')
    assert refused(*stretched, gpus=8) == []
