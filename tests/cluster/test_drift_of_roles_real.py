"""A hand edit of one role with the real kubectl: refused where blocks would no longer be of one
layout, else adopted as a release of both roles, and rolled out without a restart of what leaves.
"""

import pytest

from fleet.actions import drift as actions
from fleet.actions.adoption import adopt_content
from fleet.drive.keep import keep
from fleet.models import Deployment
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.phases import Phase
from tenants.errors import Conflict
from tests.cluster.rollout_stage import make_real_stage
from tests.cluster.test_drift_real import kubectl, seen
from tests.cluster.test_rollouts_grouped import GROUP
from tests.fixtures.kubernetes import DEPLOYMENTS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(420, func_only=True),  # the cluster's start is not counted
]


@pytest.fixture
def stage(cluster):
    """One replica of two pods serves; the node of four GPUs has room for one more."""
    found = make_real_stage(cluster, "chat", replicas=1)
    first = found.roll_out(found.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    found.service.refresh_from_db()
    yield found
    found.clear()


def add(stage, row, role, word):
    edit = f'[{{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"{word}"}}]'
    kubectl(stage, "patch", "deployment", f"{row.name}-{role}", "--type=json", f"-p={edit}")


def arguments(stage, release):
    """By role, as the API server has them."""
    found = stage.cluster.console.get(DEPLOYMENTS)["items"]
    return {
        one["metadata"]["labels"][ROLE]: one["spec"]["template"]["spec"]["containers"][0]["args"]
        for one in found
        if one["metadata"]["labels"].get(RELEASE) == release.fingerprint
    }


def serves(stage, row, word):
    """Keep works as worker and beat do, until a replica answers whose decode has the word."""

    def enough():
        stage.observe()
        keep(row.pk)
        there = {p["metadata"]["labels"][ROLE]: p for p in stage.pods()}
        has = word in there["decode"]["spec"]["containers"][0]["args"] if len(there) == 2 else False
        return has and len(stage.pods()) == 2 and len(stage.fingerprints()) == row.replicas

    until("a replica of both roles", enough, 60)


def test_an_edit_of_one_role_becomes_a_release_of_both(stage):
    row = Deployment.objects.get(replicas__gt=0)
    assert seen(stage) == ()

    add(stage, row, "decode", "--block-size=32")
    (found,) = seen(stage)
    assert found.path == "decode.spec.template.spec.containers[vllm].args"
    assert (found.manager, found.can_adopt_content) == ("kubectl-patch", True)
    with pytest.raises(Conflict, match="of another layout than its own, and a release is one KV"):
        stage.act(adopt_content, row.pk, edit=found.edit, why="it answers better")
    stage.act(actions.repair, row.pk, why="the blocks of prefill are of 16")
    keep(row.pk)
    assert seen(stage) == ()

    add(stage, row, "decode", "--max-num-seqs=32")
    (found,) = seen(stage)
    serves(stage, row, "--max-num-seqs=32")
    pods = {p["metadata"]["uid"] for p in stage.pods()}
    release = stage.act(adopt_content, row.pk, edit=found.edit, why="it answers better")
    prefill, decode = release.roles
    assert decode["arguments"][-1] == "--max-num-seqs=32"
    assert prefill == row.release.roles[0]
    rollout = stage.propose(release, steps=())
    stage.approve(rollout)
    stage.run(rollout, until={Phase.PROMOTING, Phase.SOAKING, Phase.SUCCEEDED})
    # Scaled by us, with a field that is kubectl's: no conflict, and what is left never restarted.
    assert {p["metadata"]["uid"] for p in stage.pods(row.release.fingerprint)} <= pods
    assert stage.run(rollout).phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    assert stage.service.current_release == release
    told = arguments(stage, release)
    assert "--max-num-seqs=32" in told["decode"]
    assert "--max-num-seqs=32" not in told["prefill"]
    assert set(stage.fingerprints()) == {release.fingerprint}
    assert seen(stage) == ()
