"""Arguments of vLLM: what may be given, what is refused with which sentence.

The lists ACCEPTED and UNKNOWN_TO_VLLM are also parsed by the real vLLM (tests/engine).
"""

import json
from dataclasses import replace

import pytest

from fleet.rules.kv_transfer import CONNECTORS, USUAL, Allowed
from fleet.rules.pinning import Limits, refuse_release, warnings_of
from fleet.rules.release import Probes, Resources
from fleet.rules.vllm_args import normalise, refusals, rendered
from tests.fleet.rules.walk import make_spec

LIMITS = Limits(max_model_len=4096, largest_node=8)


def transfer(**changes):
    given = {"kv_connector": "NixlConnector", "kv_role": "kv_both"} | changes
    return "--kv-transfer-config=" + json.dumps(given)


def multi(*inner):
    return transfer(
        kv_connector="MultiConnector", kv_connector_extra_config={"connectors": list(inner)}
    )


PRODUCER = {"kv_connector": "NixlConnector", "kv_role": "kv_producer"}
OFFLOADING = {"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}
ACCEPTED = {
    "nothing": [],
    "sizes": ["--max-model-len 8192", "--max-num-seqs=64", "--max-num-batched-tokens=8192"],
    "parallel": ["-tp", "4", "-pp 2", "--data-parallel-size=2", "--decode-context-parallel-size=2"],
    "experts": ["--enable-expert-parallel", "--tensor-parallel-size=8"],
    "memory": ["--gpu-memory-utilization=0.9", "--block-size=32", "--cpu-offload-gb=4"],
    "offloaded cache": ["--kv-offloading-size=8", "--kv-offloading-backend=native"],
    "precision": ["--dtype=bfloat16", "--kv-cache-dtype=fp8", "-q fp8"],
    "prefixes": ["--enable-prefix-caching", "--prefix-caching-hash-algo=sha256_cbor"],
    "no prefixes": ["--no-enable-prefix-caching"],
    "tools": ["--enable-auto-tool-choice", "--tool-call-parser=hermes"],
    "adapters": ["--enable-lora", "--max-loras=4", "--max-lora-rank=64", "--lora-dtype=auto"],
    "queues": ["--max-num-queued-reqs=64", "--max-num-queued-tokens=100000"],
    "priority": ["--scheduling-policy=priority"],
    "documents": [
        '--hf-overrides={"a": 1}', '--limit-mm-per-prompt={"image": 2}',
        '--compilation-config={"mode": 3}', '--default-chat-template-kwargs={"thinking": false}',
        '--override-generation-config={"temperature": 0.2}'],
    "speculation": ['--speculative-config={"method": "ngram", "num_speculative_tokens": 3}'],
    "quiet": ["--no-enable-log-requests", "--enable-request-id-headers", "--kv-cache-metrics"],
    "eager": ["--enforce-eager", "--disable-custom-all-reduce", "--seed=0", "-O 2"],
    "log probabilities": ["--max-logprobs=-1"],
    "media of two hosts": ["--allowed-media-domains=media.example.com,cdn.example.com"],
    "nixl": [transfer()],
    "several connectors": [multi(OFFLOADING, PRODUCER)],
    "recomputes": [transfer(kv_load_failure_policy="recompute", kv_port=14600)],
}  # fmt: skip
UNKNOWN_TO_VLLM = {
    "a typing mistake": ["--max-modle-len=4096"],
    "an option of old times": ["--swap-space=4"],
    "another option of old times": ["--max-seq-len-to-capture=8192"],
    "a device": ["--device=cuda"],
    "a value for a switch": ["--enforce-eager=1"],
    "words for a number": ["--max-num-seqs=many"],
    "a fraction of a GPU": ["--tensor-parallel-size=1.5"],
    "words for a share": ["--gpu-memory-utilization=half"],
    "no precision": ["--dtype=int3"],
    "no cache precision": ["--kv-cache-dtype=fp7"],
    "no policy": ["--scheduling-policy=fair"],
    "no hash": ["--prefix-caching-hash-algo=md5"],
    "a rank between": ["--enable-lora", "--max-lora-rank=24"],
    "an offloading nobody wrote": ["--kv-offloading-size=1", "--kv-offloading-backend=disk"],
    "broken JSON": ["--hf-overrides={", "--kv-transfer-config={"],
    "an old key of transfers": [transfer(kv_ip="10.0.0.1")],
    "a role nobody plays": [transfer(kv_role="kv_all")],
    "a policy nobody wrote": [transfer(kv_load_failure_policy="retry")],
    "no role": ['--kv-transfer-config={"kv_connector": "NixlConnector"}'],
    "no parser of tools": ["--enable-auto-tool-choice"],
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_takes_arguments_that_can_be(case):
    assert list(refusals(normalise(ACCEPTED[case]))) == []


@pytest.mark.parametrize("case", UNKNOWN_TO_VLLM)
def test_it_refuses_what_no_vllm_parses(case):
    assert list(refusals(normalise(UNKNOWN_TO_VLLM[case])))


FLAGS = {
    "unknown": (["--max-modle-len=3"], "did you mean --max-model-len?"),
    "reserved": (["--served-model-name=x"], "set by the console"),
    "forbidden": (["--api-key=x"], "no place for a secret"),
    "a value for a switch": (["--enforce-eager=1"], "takes no value"),
    "no value": (["--max-num-seqs"], "needs a value"),
    "not a number": (["--max-num-seqs=many"], "whole number"),
    "not a share": (["--gpu-memory-utilization=1.5"], "at most 1"),
    "not a decimal": (["--gpu-memory-utilization=x"], "needs a number"),
    "a digit of no number": (["--gpu-memory-utilization=²"], "needs a number"),
    "two signs": (["--cpu-offload-gb=--5"], "needs a number"),
    "not JSON": (["--hf-overrides={"], "needs JSON"),
    "not an object": (["--kv-transfer-config=[]"], "JSON object"),
    "any code": (
        ['--kv-transfer-config={"kv_connector_module_path":"x"}'], "no digest of the release"),
    "mixed KV": (
        ['--kv-transfer-config={"kv_connector_extra_config":{"enforce_handshake_compat":false}}'],
        "mix KV"),
    "no such connector": (['--kv-transfer-config={"kv_connector":"Magic"}'], "no connector Magic"),
    "no role": (['--kv-transfer-config={"kv_connector":"NixlConnector"}'], "needs kv_role"),
    "both": (["--enable-prefix-caching", "--no-enable-prefix-caching"], "exclude each other"),
    "no lora": (["--max-loras=2"], "does nothing without"),
    "no parser": (["--enable-auto-tool-choice"], "needs --tool-call-parser"),
    "no GPU in a group": (["--tensor-parallel-size=0"], "at least 1"),
    "a length that vLLM chooses": (["--max-model-len=-1"], "at least 1"),
    "no such choice": (["--max-lora-rank=24", "--enable-lora"], "8, 16, 32"),
    "few tokens": (["--max-num-batched-tokens=8", "--max-num-seqs=16"], "each sequence a token"),
    "no chunks": (
        ["--max-num-batched-tokens=512", "--max-model-len=4096", "--no-enable-chunked-prefill"],
        "longest prompts"),
    "few blocks": (
        ["--num-gpu-blocks-override=10", "--block-size=16", "--max-model-len=4096"],
        "hold 160 tokens"),
    "an uneven context": (
        ["--tensor-parallel-size=4", "--decode-context-parallel-size=3"], "cannot be divided"),
    "collisions": (["--prefix-caching-hash-algo=xxhash"], "salt"),
    "tokens on a port": (['--kv-events-config={"enable_kv_cache_events": true}'], "publish"),
    "several pods": (["--distributed-executor-backend=ray"], "no authentication"),
    "a network's address for media": (["--allowed-media-domains=169.254.169.254"], "list of hosts"),
    "a name inside the cluster": (["--allowed-media-domains=minio"], "list of hosts"),
    "an address for a host": (["--allowed-media-domains=https://a.example.com/"], "list of hosts"),
    "no host behind a comma": (["--allowed-media-domains=a.example.com,"], "list of hosts"),
    "sleep": (["--enable-sleep-mode"], "development mode"),
    "code of a plugin": (["--tool-parser-plugin=/x.py"], "no digest"),
    "code of a worker": (["--worker-cls=x.Y"], "no digest"),
    "prompts in the log": (["--enable-log-requests"], "in the log"),
    "scale out": (["--enable-scale-out"], "no authentication"),
    "offloading alone": (["--kv-offloading-backend=native"], "without --kv-offloading-size"),
    "two connectors": (["--kv-offloading-size=4", transfer()], "would replace"),
    "an unsalted cache": ([transfer(kv_connector="LMCacheConnectorV1")], "without the salt"),
    "a benchmark": ([transfer(kv_connector="DecodeBenchConnector")], "not for serving"),
    "an inner connector": ([multi({"kv_connector": "Magic", "kv_role": "kv_both"})], "Magic"),
    "an inner module": (
        [multi({"kv_connector": "X", "kv_role": "kv_both", "kv_connector_module_path": "x.y"})],
        "would load x.y"),
    "an empty multi": ([multi()], "needs connectors"),
    "a word among connectors": ([multi("Nixl")], "is an object"),
    "no extra object": ([transfer(kv_connector_extra_config=[])], "needs an object"),
    "an option by dots": (["--kv-transfer-config.kv_connector=NixlConnector"], "has no"),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGS)
def test_it_refuses_arguments_that_cannot_be(case):
    given, words = FLAGS[case]
    assert any(words in sentence for sentence in refusals(given))


def test_it_writes_arguments_in_one_form():
    given = ["--max-model-len 4096", "-tp", "2", "", "# a note", "--enforce-eager", "--dtype=half"]
    want = ("--max-model-len=4096", "--tensor-parallel-size=2", "--enforce-eager", "--dtype=half")
    assert normalise(given) == want


def test_it_refuses_a_value_that_stands_alone():
    with pytest.raises(ValueError, match="stands alone"):
        normalise(["4096"])


def test_it_takes_a_connector_that_the_settings_allow():
    given = [transfer(kv_connector="LMCacheConnectorV1")]
    assert list(refusals(given, Allowed(CONNECTORS))) == []
    (told,) = refusals([transfer()], Allowed(USUAL - {"NixlConnector"}))
    assert "not allowed here" in told


def test_it_takes_a_module_that_the_settings_allow():
    given = [transfer(kv_connector="Ours", kv_connector_module_path="ours.kv")]
    assert list(refusals(given, Allowed(modules=frozenset({"ours.kv"})))) == []
    (told,) = refusals(given)
    assert "ours.kv" in told
    assert "QM_KV_CONNECTOR_MODULES" in told


def test_it_says_that_a_clique_is_no_node():
    spec = make_spec(
        resources=Resources("NVIDIA-GB200", 16), arguments=("--tensor-parallel-size=16",)
    )
    limits = replace(LIMITS, largest_node=4, largest_clique=72)
    (told,) = (s for _, s in refuse_release(spec, limits))
    assert told.endswith(
        "the largest has 4; its fabric clique has 72, but a replica does not span nodes: ask for a"
        " group of 4 pods with 4 GPUs each"
    )


def test_it_refuses_to_offload_more_than_the_replica_has():
    given = ("--kv-offloading-size=60", "--cpu-offload-gb=4")
    (told,) = refuse_release(make_spec(arguments=given), LIMITS)
    assert told == (
        "resources",
        "64 GiB of cache and weights lie in the memory of the replica, which has 16Gi for"
        " everything: ask for more memory",
    )


def test_it_warns_of_times_that_cut_requests():
    spec = make_spec(probes=Probes(pre_stop_seconds=1, drain_seconds=60, teardown_seconds=2))
    found = " ".join(warnings_of(spec, request_seconds=300))
    assert "longer than 60 s are cut" in found
    assert "drains after 1 s" in found
    assert "killed after 2 s" in found
    good = make_spec(probes=Probes(pre_stop_seconds=15, drain_seconds=300, teardown_seconds=15))
    assert warnings_of(good, request_seconds=300) == []


def test_it_warns_of_a_cache_without_salts():
    spec = make_spec(arguments=(transfer(kv_connector="LMCacheConnectorV1"),))
    assert any("without a salt" in w for w in warnings_of(spec, request_seconds=1))


def test_it_writes_a_list_with_commas_and_gives_vllm_its_words():
    want = "--allowed-media-domains=a.example.com,b.example.com"
    of_a_line = ["--allowed-media-domains a.example.com b.example.com"]
    of_words = ["--allowed-media-domains", "a.example.com", "b.example.com"]
    for given in (of_a_line, of_words, [want]):
        assert normalise([*given, "--enforce-eager"]) == (want, "--enforce-eager")
    assert list(rendered([want, "--seed=0"])) == [
        "--allowed-media-domains", "a.example.com", "b.example.com", "--seed=0"
    ]  # fmt: skip
