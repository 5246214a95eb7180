"""Releases whose replica is a group: what is refused, rendered, counted, placed and routed."""

import json
from dataclasses import replace

import pytest

from fleet.rules.by_hand import Hand, lines_back
from fleet.rules.declared import REPLICAS, differences
from fleet.rules.differences import compare, cost_of, kv_reasons
from fleet.rules.fit import Need, NodeRoom, fit
from fleet.rules.groups import (
    line_of,
    pods_from,
    read_lines,
    read_role,
    sentence_of,
    whole,
)
from fleet.rules.manifests import (
    deployments_of,
    parts_of,
    placed,
    render,
    surroundings,
    workload,
)
from fleet.rules.pinning import Limits, refuse_release, warnings_of
from fleet.rules.pods import KV_DOMAIN
from fleet.rules.release import Resources, Role, canonical, digest_of, fingerprint_of, spec_from
from fleet.rules.routing import Offered, Placed, Replica, snapshot
from fleet.rules.seen import Pod, Side, read_side
from fleet.rules.verify import to_probe
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.rules.walk import START, make_spec

NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
LIMITS = Limits(max_model_len=4096, largest_node=8)
H100 = "NVIDIA-H100-80GB-HBM3"
SHAPE = {"prefill": 1, "decode": 2}


def transfer(**changes):
    config = {"kv_connector": "NixlConnector", "kv_role": "kv_both"} | changes
    return f"--kv-transfer-config={json.dumps(config)}"


def make_group(*roles, arguments=(NIXL,), **changes):
    roles = roles or (Role("prefill", 1), Role("decode", 2))
    return make_spec(arguments=arguments, roles=roles, **changes)


def test_a_release_without_roles_keeps_its_digest():
    assert "roles" not in canonical(make_spec())
    assert digest_of(make_group()) != digest_of(make_spec(arguments=(NIXL,)))


def test_it_comes_back_from_what_is_stored():
    spec = make_group(Role("prefill", 1, ("--max-num-seqs=8",), {"gpus": 2}), Role("decode", 2))
    content = canonical(spec)
    assert digest_of(spec_from(**content)) == digest_of(spec)
    assert pods_from(content["resources"], content["roles"]) == (2, 1, 1) == spec.gpus_of_pods
    assert spec.gpus == 4


L40S = "NVIDIA-L40S"


def test_it_takes_a_prefill_and_a_decode_with_one_connector():
    assert not list(refuse_release(make_group(), LIMITS))
    apart = make_group(
        Role("prefill", 1, (transfer(kv_role="kv_producer"),)),
        Role("decode", 2, (transfer(kv_role="kv_consumer", kv_load_failure_policy="recompute"),)),
        arguments=(),
    )
    assert not list(refuse_release(apart, LIMITS))


P, D = Role("prefill", 1), Role("decode", 2)
REFUSED = {
    "decode alone": (make_group(D), "decode without prefill answers nothing"),
    "prefill alone": (make_group(P), "prefill without decode answers nothing"),
    "a role twice": (make_group(P, P, D), "The role prefill is there twice"),
    "no connector": (make_group(arguments=()), "prefill and decode has no KV connector"),
    "one connector": (
        make_group(replace(P, arguments=(NIXL,)), D, arguments=()), "decode has no KV connector"),
    "two connectors": (
        make_group(P, replace(D, arguments=(transfer(kv_connector="MooncakeConnector"),))),
        "prefill hands blocks over by NixlConnector and decode takes them by MooncakeConnector"),
    "a store": (
        make_group(arguments=(transfer(kv_connector="OffloadingConnector"),)),
        "hands nothing from pod to pod"),
    "a prefill that only takes": (
        make_group(replace(P, arguments=(transfer(kv_role="kv_consumer"),)), D),
        "prefill has kv_role kv_consumer: it needs kv_producer or kv_both"),
    "a decode that only gives": (
        make_group(P, replace(D, arguments=(transfer(kv_role="kv_producer"),))),
        "decode has kv_role kv_producer: it needs kv_consumer or kv_both"),
    "one name for all engines": (
        make_group(arguments=(transfer(engine_id="e1"),)), "which all its pods would share"),
    "no pods": (make_group(replace(P, replicas=0), D), "prefill: 0 pods a replica"),
    "too many pods": (make_group(P, replace(D, replicas=17)), "decode: 17 pods a replica"),
    "a card for one role alone": (
        make_group(replace(P, resources={"gpu_product": "NVIDIA-L40S"}), D,
                   resources=Resources("", 1)),
        "prefill asks for NVIDIA-L40S and decode asks for any GPU: a plan counts GPUs of each"),
    "idle GPUs of a role": (
        make_group(replace(P, resources={"gpus": 2}), D), "prefill: The arguments use"),
    "a pod that fits no node": (
        make_group(
            replace(P, resources={"gpus": 16}, arguments=("--tensor-parallel-size=16",)), D),
        "prefill: A replica of 16"),
    "a context that is too short": (
        make_group(P, replace(D, arguments=("--max-model-len=512",))),
        "decode: --max-model-len 512 is less"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_roles_that_cannot_work_together(case):
    spec, want = REFUSED[case]
    found = list(refuse_release(spec, LIMITS))
    assert {field for field, _ in found} == {"roles"}
    assert any(want in sentence for _, sentence in found), found


LINES = {
    "prefill": "is not like: prefill 1, 2 GPUs",
    "prefill many": "is not like",
    "prefill 1, GPUs": "neither a number of GPUs nor an argument",
    "prefill 1, two GPUs": "neither a number of GPUs nor an argument",
}


@pytest.mark.parametrize("line", LINES)
def test_it_refuses_a_line_that_is_no_role(line):
    with pytest.raises(ValueError, match=LINES[line]):
        read_lines([line])


def test_it_refuses_a_role_that_nobody_knows():
    with pytest.raises(ValueError, match="There is no role 'router': roles are decode and prefill"):
        read_role({"name": "router", "replicas": 1})


ROLE_LINES = {
    f"prefill 1, 2 GPUs, --max-num-seqs=8, {NIXL}": Role(
        "prefill", 1, ("--max-num-seqs=8", NIXL), {"gpus": 2}
    ),
    "decode 2, 1 GPU of NVIDIA-L40S": Role("decode", 2, (), {"gpus": 1, "gpu_product": L40S}),
    "decode 2, GPUs of NVIDIA-L40S": Role("decode", 2, (), {"gpu_product": L40S}),
    "decode 2": Role("decode", 2),
}


@pytest.mark.parametrize("line", ROLE_LINES)
def test_lines_say_what_roles_are(line):
    (given,) = read_lines([line, ""])
    assert read_role(given) == ROLE_LINES[line]
    assert line_of(ROLE_LINES[line]) == line


def test_it_says_what_a_replica_is():
    assert sentence_of(SHAPE) == "1 prefill and 2 decode"


def test_it_says_that_blocks_may_be_lost_when_a_prefill_goes():
    assert any(
        "A prefill pod that goes away" in w for w in warnings_of(make_group(), request_seconds=1)
    )


# -- manifests ----------------------------------------


def test_each_role_is_a_deployment_with_its_own_arguments_and_resources():
    spec = make_group(Role("prefill", 1, ("--max-num-seqs=8",), {"gpus": 2, "memory": "64Gi"}), D)
    prefill, decode = deployments_of(workload(render(spec, "models", 4096)))
    name = f"chat-{digest_of(spec)[:8]}"
    assert [prefill["metadata"]["name"], decode["metadata"]["name"]] == [
        f"{name}-prefill", f"{name}-decode",
    ]  # fmt: skip
    one, other = (d["spec"]["template"]["spec"]["containers"][0] for d in (prefill, decode))
    assert one["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "64Gi"}
    assert other["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "--max-num-seqs=8" in one["args"] and "--max-num-seqs=8" not in other["args"]
    selectors = [d["spec"]["selector"]["matchLabels"] for d in (prefill, decode)]
    assert [s["quartermaster.dev/role"] for s in selectors] == ["prefill", "decode"]


def test_all_pods_of_a_release_have_its_fingerprint_and_its_kv_domain():
    spec = make_group()
    fingerprint = fingerprint_of(digest_of(spec))
    for item in deployments_of(workload(render(spec, "models", 4096))):
        container = item["spec"]["template"]["spec"]["containers"][0]
        assert f"--fingerprint-value={fingerprint}" in container["args"]
        assert {"name": KV_DOMAIN, "value": fingerprint} in container["env"]
        assert item["metadata"]["labels"]["quartermaster.dev/release"] == fingerprint


def test_blocks_are_handed_over_within_a_release_only():
    made = render(make_group(), "models", 4096)
    fence = next(m for m in made if m["kind"] == "NetworkPolicy")
    match = fence["spec"]["podSelector"]["matchLabels"]
    assert match["quartermaster.dev/release"] == fingerprint_of(digest_of(make_group()))
    clients, peers = fence["spec"]["ingress"]
    assert [p["port"] for p in clients["ports"]] == [8000]
    assert peers["from"] == [{"podSelector": {"matchLabels": match}}]
    assert [m["kind"] for m in surroundings(made)] == ["PodDisruptionBudget"]


def test_replicas_of_the_release_are_pods_of_each_role():
    prefill, decode = deployments_of(workload(render(make_group(), "models", 4096)))
    assert placed(prefill, replicas=3, fence=1)["spec"]["replicas"] == 3
    assert placed(decode, replicas=3, fence=1)["spec"]["replicas"] == 6


def test_a_release_without_roles_is_one_deployment_as_ever():
    made = render(make_spec(), "models", 4096)
    assert workload(made)["kind"] == "Deployment"
    assert [m["kind"] for m in made] == ["PodDisruptionBudget", "Deployment"]
    (part,) = parts_of(make_spec())
    assert (part.role, part.each) == ("serve", 1)


def test_names_stay_within_63_characters():
    spec = make_group(service="s" * 63)
    names = [m["metadata"]["name"] for m in render(spec, "models", 4096)]
    assert max(map(len, names)) <= 66  # a NetworkPolicy may have more
    assert all(
        len(d["metadata"]["name"]) <= 63 for d in deployments_of(workload(render(spec, "m", 9)))
    )


# -- what is seen ----------------------------------------


def group_in_memory(replicas=2, gpus=16):
    fake, spec = FakeWorkloads(START, gpus), make_group()
    for item in deployments_of(workload(render(spec, "models", 4096))):
        fake.apply(placed(item, replicas=replicas, fence=0))
    for _ in range(4):
        fake.tick()
    return fake, spec


def side_in(fake, spec):
    return read_side(fake.look(""), fingerprint_of(digest_of(spec)), spec.shape)


def test_replicas_are_counted_as_whole_groups():
    fake, spec = group_in_memory()
    side = side_in(fake, spec)
    assert (side.wanted, side.alive, side.loaded, side.exists) == (2, 2, 2, True)
    decode = next(p for p in side.pods if p.role == "decode")
    del fake.pods[decode.uid]
    side = side_in(fake, spec)
    assert (side.alive, side.loaded) == (2, 1)
    assert side.gpus(3) == 5


def test_a_release_of_which_a_role_is_missing_is_not_there():
    fake, spec = group_in_memory()
    del fake.deployments[next(n for n in fake.deployments if n.endswith("decode"))]
    side = side_in(fake, spec)
    assert (side.exists, side.gone, side.wanted) == (False, False, 0)


def test_roles_for_different_numbers_are_seen():
    fake, spec = group_in_memory()
    assert not side_in(fake, spec).uneven
    name = next(n for n in fake.deployments if n.endswith("decode"))
    for pods in (3, 5, 8):
        fake.deployments[name]["spec"]["replicas"] = pods
        assert side_in(fake, spec).uneven, pods


def test_a_decode_is_asked_only_with_a_peer_of_its_own_release():
    fake, spec = group_in_memory()
    side = side_in(fake, spec)
    prefills = {p.address for p in side.pods if p.role == "prefill"}
    assert {p.peer for p in side.pods if p.role == "decode"} == {min(prefills)}
    alone = replace(side, pods=tuple(replace(p, peer="") for p in side.pods))
    assert {p.role for p in to_probe(alone)} == {"prefill"}


def test_one_pod_is_one_replica_where_there_are_no_roles():
    pods = tuple(Pod(f"u{i}", f"p{i}", START, loaded=True) for i in range(3))
    side = Side(exists=True, wanted=3, pods=pods)
    assert (side.alive, side.loaded, side.uneven) == (3, 3, False)
    assert whole(["serve"] * 3, {}) == 3


# -- room ----------------------------------------


def rooms(*free):
    return [NodeRoom(f"n{i}", "H100", 8, 8 - n) for i, n in enumerate(free)]


def test_a_group_finds_room_where_all_its_pods_do():
    need = Need("H100", 6, 1, (4, 1, 1))
    assert fit(rooms(4, 2), need).places == 1
    assert fit(rooms(3, 3), need).places == 0  # no node has 4
    assert fit(rooms(8, 8), need).places == 2  # 4 + 1 + 1 on each
    assert fit(rooms(8, 8), need).ever == 2


def test_a_claim_of_a_group_takes_whole_groups_only():
    claim = Need("H100", 6, 1, (4, 1, 1))
    assert fit(rooms(4, 4), Need("H100", 1, 1), [claim]).places == 2
    assert fit(rooms(3, 3), Need("H100", 1, 1), [claim]).places == 6


# -- differences, routing, by hand ----------------------------------------


def test_it_says_what_another_ratio_means():
    old, new = make_group(), make_group(P, Role("decode", 3))
    (change,) = compare(old, new)
    assert (change.part, change.name, change.before, change.after) == (
        "roles", "decode", "decode 2", "decode 3",
    )  # fmt: skip
    assert kv_reasons([change])
    assert cost_of(old, new) == ["A replica holds 4 GPUs, 3 before: +33%"]


def test_a_hand_at_one_role_is_told_with_its_role():
    fake, spec = group_in_memory()
    name = next(n for n in fake.deployments if n.endswith("decode"))
    declared = placed(
        next(d for d in deployments_of(workload(render(spec, "models", 4096)))
             if d["metadata"]["name"] == name), replicas=2, fence=0,
    )  # fmt: skip
    fake.deployments[name]["spec"]["replicas"] = 3
    (found,) = differences(declared, fake.deployments[name])
    assert found.text == REPLICAS
    assert (found.of("decode").text, found.of("decode").is_replicas) == (f"decode.{REPLICAS}", True)


def replica(name, role, **changes):
    return Replica(name, f"{name}:8000", role=role, **changes)


def routed(*replicas, roles=("prefill", "decode")):
    row = Placed(1, 2, "rel-1", 100, "one", "eu", (), roles, replicas)
    found = snapshot([Offered(1, "chat", placed=(row,))])
    return found.services["chat"].pools[0]


def test_a_pool_names_both_roles_of_its_release():
    pool = routed(replica("p", "prefill"), replica("d1", "decode"), replica("d2", "decode"))
    assert [e.pod for e in pool.prefill] == ["p"]
    assert [e.pod for e in pool.endpoints] == ["d1", "d2"]


def test_a_decode_without_a_prefill_of_its_release_gets_no_traffic():
    pool = routed(replica("p", "prefill", ready=False), replica("d1", "decode"))
    assert (pool.endpoints, pool.prefill) == ((), ())
    assert routed(replica("p", "prefill")).prefill == ()


def test_a_role_whose_pods_all_fail_probes_keeps_them():
    pool = routed(replica("p", "prefill", probe_failures=9), replica("d", "decode"))
    assert [e.pod for e in pool.prefill] == ["p"]


def test_the_lines_of_the_way_back_name_each_role():
    old, new = (workload(render(make_group(image=i), "models", 4096)) for i in ("old", "new"))
    hand = Hand("RO-1", "chat", new, old, "r1", "r2", 2, 0, 1, {"": 3}, {"": 3}, {"": 6}, 7)
    text = "\n".join(lines_back(hand))
    for role in ("prefill", "decode"):
        assert text.count(f"delete deployment {new['metadata']['name']}-{role} ") == 1
        assert f"wait deployment/{old['metadata']['name']}-{role} " in text
    assert "'{.status.replicas}'=4" in text  # two replicas of two decode pods
