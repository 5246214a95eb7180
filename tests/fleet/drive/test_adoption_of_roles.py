"""What somebody wrote into one role of a release is adopted; the other role stays as it was."""

import pytest

from fleet.actions.adoption import adopt_content
from fleet.models import Deployment, Release, Service
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.phases import FINAL, Phase
from tenants.errors import Conflict
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_drift import AT, drift, observe
from tests.fleet.drive.test_groups import GROUP, even, numbers
from tests.fleet.drive.test_spanning import WIDE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    """Two replicas of three pods serve; there is room for one more."""
    return make_stage(replicas=2, gpus=9, **GROUP)


def objects(stage, role="", release=None):
    release = release or stage.service.current_release
    return {
        one["metadata"]["labels"][ROLE]: one
        for one in stage.fake.deployments.values()
        if one["metadata"]["labels"][RELEASE] == release.fingerprint
    }


def arguments(one):
    return one["spec"]["template"]["spec"]["containers"][0]["args"]


def edit(stage, role, *words, **fields):
    """As `kubectl edit` of the object of one role."""
    one = objects(stage)[role]
    container = one["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [*container["args"], *words]
    container |= fields
    owned = {f"f:{name}": {} for name in ("args", *fields)}
    inside = {"f:containers": {'k:{"name":"vllm"}': owned}}
    one["metadata"]["managedFields"] = [
        {
            "manager": "kubectl-edit",
            "operation": "Update",
            "time": AT,
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": inside}}},
        }
    ]
    observe(stage)


def adopt(stage):
    seen = drift(stage)[0]
    return stage.act(adopt_content, seen.deployment_id, edit=seen.edit, why="it answers better")


def test_one_role_is_adopted_rolled_out_as_one_and_nothing_old_restarts(stage):
    edit(stage, "decode", "--max-num-seqs=32")
    (found,) = drift(stage)
    assert found.path == "decode.spec.template.spec.containers[vllm].args"
    assert found.can_adopt_content
    old = stage.service.current_release
    release = adopt(stage)
    prefill, decode = release.roles
    assert (decode["arguments"], decode["replicas"]) == (["--max-num-seqs=32"], 2)
    assert prefill == old.roles[0]
    assert release.arguments == old.arguments
    before = {p["metadata"]["uid"] for p in stage.fake.pods.values()}
    rollout = stage.propose(release)
    stage.approve(rollout)
    while Phase(rollout.phase) not in FINAL:
        stage.step(rollout)
        assert even(numbers(stage)), numbers(stage)
        for role, one in objects(stage, release=old).items():
            assert ("--max-num-seqs=32" in arguments(one)) is (role == "decode")
        pods = stage.fake.pods.values()
        left = (p for p in pods if p["metadata"]["labels"][RELEASE] == old.fingerprint)
        assert {p["metadata"]["uid"] for p in left} <= before
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert Service.objects.get().current_release_id == release.pk
    new = objects(stage, release=release)
    assert "--max-num-seqs=32" in arguments(new["decode"])
    assert "--max-num-seqs=32" not in arguments(new["prefill"])
    observe(stage)
    assert drift(stage) == ()


def test_another_layout_of_one_roles_blocks_is_refused_and_says_why(stage):
    edit(stage, "decode", "--block-size=32")
    with pytest.raises(Conflict, match=r"--block-size is not given at prefill and 32 at decode.*"):
        adopt(stage)
    with pytest.raises(Conflict, match="a release is one KV domain.*repair it"):
        adopt(stage)
    edit(stage, "prefill", "--block-size=32")
    assert "--block-size=32" in adopt(stage).arguments


def test_another_build_of_one_role_is_refused_and_says_why(stage):
    edit(stage, "prefill", image="registry.local/vllm@sha256:" + "e" * 64)
    with pytest.raises(Conflict, match="prefill would run another build .* is one KV domain"):
        adopt(stage)
    assert Release.objects.count() == 1


def test_a_role_that_was_scaled_by_hand_is_decided_first(stage):
    objects(stage)["decode"]["spec"]["replicas"] = 5
    edit(stage, "decode", "--max-num-seqs=32")
    one = objects(stage)["decode"]["metadata"]["managedFields"][0]
    one["fieldsV1"]["f:spec"]["f:replicas"] = {}
    observe(stage)
    with pytest.raises(Conflict, match="5 pods of decode run, 4 are declared.*to 4 again"):
        adopt(stage)


def test_pods_that_are_one_engine_are_adopted_as_one():
    stage = make_stage(replicas=2, gpus=6, **WIDE)
    edit(stage, "serve", "--seed=7")
    with pytest.raises(Conflict, match="serve would have other content than serve-w1"):
        adopt(stage)
    edit(stage, "serve-w1", "--seed=7")
    release = adopt(stage)
    assert release.arguments == ["--tensor-parallel-size=2", "--seed=7"]
    assert Deployment.objects.get().release_id != release.pk
    rollout = stage.propose(release)
    stage.approve(rollout)
    assert stage.run(rollout).phase == Phase.SUCCEEDED, rollout.why
    observe(stage)
    assert drift(stage) == ()
