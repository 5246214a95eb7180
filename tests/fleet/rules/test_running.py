"""What an engine tells of its cache, against what its release's arguments promise."""

import pytest

from fleet.rules.running import promised, read_config, unlike

PAGE = """\
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",odd="a \\"b\\", c",\
enable_prefix_caching="True",gpu_memory_utilization="0.9"} 1.0
vllm:num_requests_running{engine="0"} 0.0
"""


def test_it_promises_what_the_arguments_name_and_no_more():
    assert promised(["--max-model-len=4096", "--enforce-eager"]) == {}
    assert promised(["--block-size=32", "--kv-cache-dtype=fp8", "--enable-prefix-caching"]) == {
        "block_size": "32", "cache_dtype": "fp8", "enable_prefix_caching": "True",
    }  # fmt: skip


def test_the_last_of_two_switches_wins():
    both = ["--enable-prefix-caching", "--no-enable-prefix-caching"]
    assert promised(both) == {"enable_prefix_caching": "False"}


def test_it_reads_the_labels():
    found = read_config(PAGE)
    assert (found["cache_dtype"], found["gpu_memory_utilization"]) == ("auto", "0.9")
    assert found["enable_prefix_caching"] == "True"
    assert read_config("") == {}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"gpu_memory_utilization": "0.90"}, ""),
        ({"enable_prefix_caching": "True", "block_size": "16"}, ""),
        ({"cache_dtype": "fp8"}, "runs with cache_dtype auto, its arguments say fp8"),
        ({"prefix_caching_hash_algo": "sha256"}, ""),  # not told
    ],
)
def test_the_first_difference_is_told(wanted, said):
    assert unlike(read_config(PAGE), wanted) == said
