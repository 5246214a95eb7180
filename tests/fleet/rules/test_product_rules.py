"""Releases whose roles run on GPU products of their own."""

from dataclasses import replace

from fleet.rules.differences import cost_of
from fleet.rules.groups import described, pods_by_product
from fleet.rules.manifests import deployments_of, render, workload
from fleet.rules.pinning import refuse_release
from fleet.rules.release import Role, canonical
from tests.fleet.rules.test_group_rules import H100, L40S, LIMITS, make_group

MIXED = (Role("prefill", 1, (), {"gpu_product": L40S}), Role("decode", 2))


def test_each_role_may_have_a_gpu_product_of_its_own():
    spec = make_group(*MIXED)
    limits = replace(LIMITS, largest_node=0, others={H100: (8, 0), L40S: (4, 0)})
    assert not list(refuse_release(spec, limits))
    assert (spec.pods_by_product, spec.product) == ({H100: (1, 1), L40S: (1,)}, "")
    content = canonical(spec)
    assert pods_by_product(content["resources"], content["roles"]) == spec.pods_by_product
    assert described(spec) == "1 prefill of 1 L40S and 2 decode of 1 H100-80GB-HBM3"
    prefill, decode = deployments_of(workload(render(spec, "models", 4096)))
    for made, product in ((prefill, L40S), (decode, H100)):
        pod = made["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"nvidia.com/gpu.product": product}
    (sentence,) = cost_of(make_group(), spec)
    assert f"runs on {H100} and {L40S}, before on {H100}" in sentence


def test_a_role_that_fits_no_node_of_its_own_product_is_refused():
    large = replace(MIXED[0], arguments=("--tensor-parallel-size=8",))
    spec = make_group(replace(large, resources={"gpus": 8, "gpu_product": L40S}), MIXED[1])
    limits = replace(LIMITS, others={H100: (8, 0), L40S: (4, 0)})
    ((field, sentence),) = refuse_release(spec, limits)
    assert (field, "prefill: A replica of 8 NVIDIA-L40S fits on no node" in sentence) == (
        "roles", True,
    )  # fmt: skip
