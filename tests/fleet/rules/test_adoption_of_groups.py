"""Edits of one role, or of pods that are one engine: the release that declares them, or why none.

Also: which flags prefill and decode must have in common, whoever writes the release.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.adoption import adopted
from fleet.rules.declared import differences
from fleet.rules.groups import refuse_roles
from fleet.rules.manifests import ROLE, deployment, deployments_of, parts_of, render, workload
from fleet.rules.release import Resources, Role, digest_of
from fleet.rules.vllm_args import values_of
from tests.fleet.rules.walk import make_spec

MODEL_LEN = 4096
NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
OLD = make_spec(
    arguments=(NIXL, "--max-num-seqs=64"),
    environment={"A": "1"},
    roles=(Role("prefill", 1, ("--seed=1",)), Role("decode", 2, (), {"gpus": 2})),
)
WIDE = make_spec(
    arguments=("--tensor-parallel-size=2",), resources=Resources("NVIDIA-L40S", 1, group_size=2)
)
BOTH_WIDE = make_spec(
    arguments=(NIXL, "--tensor-parallel-size=2"),
    resources=Resources("NVIDIA-L40S", 1, group_size=2),
    roles=(Role("prefill", 1), Role("decode", 2)),
)
INSIDE = "spec.template.spec.containers[vllm]"

FLAGS = st.sampled_from(("--max-num-seqs", "--seed", "--max-num-batched-tokens"))
ARGUMENTS = st.lists(st.builds("{}={}".format, FLAGS, st.integers(1, 9)), max_size=3).map(tuple)
OWN = st.fixed_dictionaries({}, optional={"gpus": st.integers(1, 8), "memory": st.just("32Gi")})
SPECS = st.builds(
    make_spec,
    arguments=ARGUMENTS.map(lambda words: (NIXL, *words)),
    environment=st.dictionaries(st.sampled_from("AB"), st.text("xy1", max_size=2), max_size=2),
    image_digest=st.sampled_from("de").map(lambda letter: "sha256:" + letter * 64),
    roles=st.tuples(
        st.builds(Role, st.just("prefill"), st.just(1), ARGUMENTS, OWN),
        st.builds(Role, st.just("decode"), st.just(2), ARGUMENTS, OWN),
    ),
)


def placed(spec, sets=""):
    return workload(render(spec, "models", MODEL_LEN, sets))


def content(spec, old, sets=""):
    """Of each role, as if it were written into the objects of the old release."""
    parts = [replace(part, digest=digest_of(old)) for part in parts_of(spec, sets)]
    return [deployment(part, "models", MODEL_LEN) for part in parts]


def edits_between(old, new, sets=""):
    ones, others = content(old, old, sets), content(new, old, sets)
    found = {}
    for one, other in zip(ones, others, strict=True):
        role = one["metadata"]["labels"][ROLE]
        told = differences(one, other)
        found |= {d.text: d.live for d in (d.of(role) if len(ones) > 1 else d for d in told)}
    return found


def adopt(old, edits, sets="", running=""):
    return adopted(old, placed(old, sets), edits, running=running, max_model_len=MODEL_LEN)


def in_effect(spec):
    """What each role is given, where the last flag wins."""
    return {
        name: (values_of(part.arguments), sorted(part.arguments), part.resources)
        for name, _, part in spec.parts
    }


@given(SPECS, SPECS)
def test_what_is_adopted_of_two_roles_is_what_was_written(old, new):
    found = adopt(old, edits_between(old, new))
    assert in_effect(found) == in_effect(new)
    assert (found.environment, found.image_digest) == (new.environment, new.image_digest)


@pytest.mark.parametrize("role", ["prefill", "decode"])
@given(SPECS, SPECS)
def test_the_other_role_stays_as_it_is(role, old, new):
    """Arguments and resources of one; what both share is not touched."""
    edits = {
        path: live
        for path, live in edits_between(old, new).items()
        if path.startswith(role) and (path.endswith(".args") or ".resources." in path)
    }
    found, other = adopt(old, edits), {"prefill": "decode", "decode": "prefill"}[role]
    assert in_effect(found)[role] == in_effect(new)[role]
    assert in_effect(found)[other] == in_effect(old)[other]
    assert found.environment == old.environment


def test_a_flag_that_one_role_lost_stays_the_other_roles_own():
    words = deployments_of(placed(OLD))[1]["spec"]["template"]["spec"]["containers"][0]["args"]
    live = [w for w in words if w != "--max-num-seqs=64"] + ["--max-num-seqs=32"]
    found = adopt(OLD, {f"decode.{INSIDE}.args": live})
    assert found.arguments == (NIXL,)
    prefill, decode = found.roles
    assert prefill.arguments == ("--max-num-seqs=64", "--seed=1")
    assert (decode.arguments, decode.resources) == (("--max-num-seqs=32",), {"gpus": 2})


@pytest.mark.parametrize(
    ("path", "live", "told"),
    [
        ("decode", "registry.local/vllm@sha256:" + "e" * 64, "decode would run another build.*KV"),
        ("prefill", "registry.local/vllm@sha256:" + "e" * 64, "prefill would run another build"),
    ],
)
def test_another_build_of_one_role_is_another_kv_domain(path, live, told):
    with pytest.raises(ValueError, match=told):
        adopt(OLD, {f"{path}.{INSIDE}.image": live})


def test_a_build_that_both_roles_run_is_adopted():
    live = "registry.local/vllm:v2"
    edits = {f"{role}.{INSIDE}.image": live for role in ("prefill", "decode")}
    assert adopt(OLD, edits, running="sha256:" + "e" * 64).image_digest == "sha256:" + "e" * 64


def test_a_variable_of_one_role_is_no_release():
    edits = {f"decode.{INSIDE}.env[B]": {"name": "B", "value": "2"}}
    with pytest.raises(ValueError, match="all its pods the same one: write it into both"):
        adopt(OLD, edits)
    both = edits | {f"prefill.{INSIDE}.env[B]": {"name": "B", "value": "2"}}
    assert adopt(OLD, both).environment == {"A": "1", "B": "2"}


@pytest.mark.parametrize("sets", ["", "v1"])
@pytest.mark.parametrize("old", [WIDE, BOTH_WIDE])
def test_an_engine_over_several_pods_is_adopted_where_all_of_it_was_changed(old, sets):
    new = replace(old, arguments=(*old.arguments, "--seed=7"), environment={"A": "2"})
    edits = edits_between(old, new, sets)
    assert adopt(old, edits, sets) == new
    for path in (p for p in edits if p.endswith(".args")):
        less = {p: live for p, live in edits.items() if p != path}
        with pytest.raises(ValueError, match="pods that are one engine have the same"):
            adopt(old, less, sets)


def test_what_is_no_part_of_a_release_is_named_with_its_role():
    with pytest.raises(ValueError, match=r"decode\.spec\.strategy\.type is no part"):
        adopt(OLD, {"decode.spec.strategy.type": "RollingUpdate"})


@pytest.mark.parametrize(
    ("flag", "lays"),
    [
        ("--block-size=32", True),
        ("--kv-cache-dtype=fp8", True),
        ("--dtype=auto", False),  # as without it
        ("--tensor-parallel-size=2", False),  # connectors know engines of another size
        ("--max-num-seqs=8", False),
    ],
)
def test_roles_lay_blocks_out_in_one_way(flag, lays):
    prefill, decode = OLD.roles
    spec = replace(OLD, roles=(prefill, replace(decode, arguments=(flag,))))
    found = list(refuse_roles(spec))
    assert bool(found) is lays
    if found:
        assert "is one KV domain" in found[0]
        assert not list(refuse_roles(replace(OLD, arguments=(NIXL, flag))))
