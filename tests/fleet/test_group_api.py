"""Releases of prefill and decode through the REST API: made, shown, planned, refused."""

import pytest

from fleet.models import Cluster, Release
from tests.fleet.test_rollout_api import PRODUCT, body, post, service

__all__ = ["service"]

pytestmark = pytest.mark.django_db
NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
ROLES = [
    {
        "name": "prefill",
        "replicas": 1,
        "resources": {"gpus": 2},
        "arguments": ["--tensor-parallel-size 2"],
    },
    {"name": "decode", "replicas": 2},
]


def group(service, **changes):
    return body(service, arguments=[NIXL], roles=ROLES, **changes)


def test_it_takes_roles_and_shows_them(olga, service):
    answer = post(olga, "releases", group(service))
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["release"]["gpus"] == 4
    assert made["roles"] == [
        {
            "name": "prefill",
            "replicas": 1,
            "arguments": ["--tensor-parallel-size=2"],
            "resources": {"gpus": 2},
        },
        {"name": "decode", "replicas": 2, "arguments": [], "resources": {}},
    ]


def test_a_plan_counts_whole_groups_and_says_what_moves_together(olga, service):
    release = post(olga, "releases", group(service)).json()["release"]
    plan = post(olga, "plans", {"service_id": service.pk, "release_id": release["id"]}).json()
    assert plan["roles"] == "1 prefill and 2 decode"
    assert plan["plans"][0]["gpus_on_top"] == 8
    assert plan["plans"][0]["answer"] == "possible"
    check = next(c for c in plan["checks"] if c["name"] == "Prefill and decode")
    assert "move and return as one" in check["text"]
    kinds = [m["kind"] for m in plan["manifests"]]
    assert kinds == ["PodDisruptionBudget", "NetworkPolicy", "Deployment", "Deployment"]


L40S = "NVIDIA-L40S"


def test_a_plan_counts_each_gpu_product(olga, service):
    decode = ROLES[1] | {"resources": {"gpu_product": L40S}}
    made = post(olga, "releases", body(service, arguments=[NIXL], roles=[ROLES[0], decode])).json()
    release = made["release"]
    assert (release["gpus"], release["gpu_product"]) == (4, "")
    assert release["gpu_mix"] == {PRODUCT: 2, L40S: 2}
    answer = post(olga, "plans", {"service_id": service.pk, "release_id": release["id"]})
    (plan,) = answer.json()["plans"]
    assert (plan["answer"], plan["gpus_on_top"]) == ("never", 8)
    assert f"No node has {L40S.removeprefix('NVIDIA-')}: 4 needed" in plan["why"]
    assert plan["products"] == [
        {"product": PRODUCT, "gpus": 4, "free": 8, "claimed": 0, "missing": 0},
        {"product": L40S, "gpus": 4, "free": 0, "claimed": 0, "missing": 4},
    ]


REFUSED = {
    "one role": (ROLES[1:], "decode without prefill answers nothing"),
    "a stranger": ([{"name": "router", "replicas": 1}], "There is no role 'router'"),
    "a card for one role alone": (
        [ROLES[0] | {"resources": {"gpus": 2, "gpu_product": ""}}, ROLES[1]],
        "prefill asks for any GPU and decode asks for NVIDIA-H100-80GB-HBM3",
    ),
    "a loose word": (
        [{"name": "prefill", "replicas": 1, "arguments": ["loose"]}, ROLES[1]],
        "loose stands alone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_roles_with_a_sentence(olga, service, case):
    roles, want = REFUSED[case]
    answer = post(olga, "releases", body(service, arguments=[NIXL], roles=roles))
    assert answer.status_code == 422
    assert want in answer.content.decode()
    assert not Release.objects.exists()


def test_a_stranger_makes_no_group(mallory, service):
    answer = post(mallory, "releases", group(service))
    assert answer.status_code in (403, 404)
    assert not Release.objects.exists()


WIDE = {"gpu_product": PRODUCT, "gpus": 2, "group_size": 2}


def test_it_takes_an_engine_over_several_nodes_and_plans_it(olga, service):
    given = body(service, arguments=["--tensor-parallel-size=4"], resources=WIDE)
    answer = post(olga, "releases", given)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["release"]["gpus"], made["resources"]["group_size"]) == (4, 2)
    given = {"service_id": service.pk, "release_id": made["release"]["id"]}
    for sets, kinds in (
        ("", ["Service", "StatefulSet", "StatefulSet"]),
        ("v1", ["LeaderWorkerSet"]),
    ):
        Cluster.objects.update(group_sets=sets)
        plan = post(olga, "plans", given).json()
        assert plan["roles"] == "2 pods that are one engine"
        assert plan["plans"][0]["gpus_on_top"] == 8
        check = next(c for c in plan["checks"] if c["name"] == "Engine over several nodes")
        assert "move and return as one" in check["text"]
        assert [m["kind"] for m in plan["manifests"]][2:] == kinds


def test_it_says_how_many_gpus_a_group_lacks(olga, service):
    given = body(service, arguments=["--tensor-parallel-size=8"], resources=WIDE)
    answer = post(olga, "releases", given)
    assert answer.status_code == 422
    assert "the replica gets 2 pods x 2 = 4: 4 missing" in answer.content.decode()
