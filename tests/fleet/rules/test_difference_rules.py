"""What changes from one release to another, for clients, for cost, for the KV cache."""

from dataclasses import fields

import pytest

from fleet.rules.differences import compare, cost_of, kv_reasons, visible_to_clients
from fleet.rules.meanings import KV_SHAPING, MEANS, SEEN_BY_CLIENTS
from fleet.rules.release import ModelPin, Probes, Resources
from fleet.rules.vllm_options import KNOWN
from tests.fleet.rules.walk import make_spec

H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"


def changes(old=(), new=(), **more):
    return compare(make_spec(arguments=old), make_spec(arguments=new, **more))


def test_it_explains_every_part_of_a_release():
    parts = {f.name for kind in (ModelPin, Resources, Probes) for f in fields(kind)} - {"name"}
    assert sorted((KNOWN | parts | {"image", "image_digest", "model"}) - MEANS.keys()) == []
    assert MEANS.keys() >= SEEN_BY_CLIENTS | KV_SHAPING


def test_it_says_what_a_change_means():
    old = make_spec(arguments=("--max-model-len=8192",), environment={"A": "1"})
    new = make_spec("b" * 40, arguments=("--max-model-len=4096", "--enforce-eager"))
    found = {c.name: c for c in compare(old, new)}
    assert found["--max-model-len"].means.startswith("Clients see")
    assert (found["--enforce-eager"].before, found["--enforce-eager"].after) == ("", "on")
    assert (found["A"].after, found["A"].means[:15]) == ("", "Another setting")


CLIENTS = {
    "a shorter context": (
        "--max-model-len=8192", "--max-model-len=4096",
        "requests of more than 4,096 tokens are refused, 8,192 were answered"),
    "a longer context": (
        "--max-model-len=4096", "--max-model-len=8192",
        "requests may be 4,096 tokens longer, 8,192 in all"),
    "a context from now on": ("--seed=1", "--max-model-len=8192", "another longest context"),
    "tools": ("--tool-call-parser=a", "--tool-call-parser=b", "see tool calls in another way"),
    "reasoning": ("--reasoning-parser=a", "--reasoning-parser=b", "reasoning in another place"),
    "sampling": ("--generation-config=auto", "--generation-config=vllm", "choose tokens"),
    "adapters": ("--max-loras=1", "--max-loras=2", "Other adapters"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLIENTS)
def test_it_tells_what_clients_will_notice(case):
    old, new, words = CLIENTS[case]
    assert any(words in text for text in visible_to_clients(changes((old,), (new,))))


def test_it_tells_clients_of_other_weights_and_not_of_other_times():
    assert visible_to_clients(changes(model=ModelPin("org/model", "b" * 40))) == [
        "commit: Other weights answer"
    ]
    assert visible_to_clients(changes(probes=Probes(), resources=Resources(H200, 1))) == []


def test_it_tells_what_a_replica_costs():
    old = make_spec(resources=Resources(H100, 2), arguments=("--max-num-seqs=64",))
    new = make_spec(resources=Resources(H200, 4), arguments=("--max-num-seqs=256",))
    assert cost_of(old, new) == [
        "A replica holds 4 GPUs, 2 before: +100%",
        f"A replica runs on {H200}, before on {H100}: another price an hour",
        "+100% requests at a time on each GPU at most",
    ]
    assert cost_of(old, old) == []
    bare = make_spec(arguments=("--no-enable-prefix-caching",))
    assert cost_of(make_spec(), bare)[0].startswith("No beginning is cached")
    assert cost_of(bare, make_spec())[0].startswith("Common beginnings are cached")


KV = {
    "the cache's precision": (("--kv-cache-dtype=fp8",), "--kv-cache-dtype: not set to fp8"),
    "the blocks": (("--block-size=32",), "--block-size: not set to 32"),
    "the split": (("--tensor-parallel-size=2",), "--tensor-parallel-size: not set to 2"),
}


@pytest.mark.parametrize("case", KV)
def test_it_tells_why_blocks_cannot_be_read(case):
    new, why = KV[case]
    assert kv_reasons(changes((), new)) == [why]


def test_it_takes_another_engine_or_model_for_another_kv_domain():
    assert kv_reasons(changes(image_digest="sha256:" + "e" * 64))
    assert kv_reasons(changes(model=ModelPin("org/model", "b" * 40)))
    assert kv_reasons(changes((), ("--max-num-seqs=8",))) == []
    assert compare(make_spec(), make_spec()) == []
