"""A hand edit of an engine over two pods with the real kubectl: adopted where both have it."""

import pytest

from fleet.actions.adoption import adopt_content
from fleet.drive.keep import keep
from fleet.models import Deployment, ObservedPod
from fleet.rules.members import LEADER_WORKER_SET
from fleet.rules.phases import Phase
from tenants.errors import Conflict
from tests.cluster.test_drift_real import kubectl, seen
from tests.cluster.test_rollouts_spanning import GROUP, SETS, group_sets, made, stage, whole
from tests.cluster.test_rollouts_spanning import scales as scaled
from tests.fixtures.kubernetes import until

__all__ = ["group_sets", "stage"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(420, func_only=True),  # the cluster's start is not counted
]
WORD = "--max-num-seqs=32"


def serve(stage):
    first = stage.roll_out(stage.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    stage.service.refresh_from_db()
    assert seen(stage) == ()
    return Deployment.objects.get(replicas__gt=0)


def add(stage, kind, name, template):
    place = f"/spec/{template}/spec/containers/0/args/-"
    patch = f'[{{"op":"add","path":"{place}","value":"{WORD}"}}]'
    kubectl(stage, "patch", kind, name, "--type=json", f"-p={patch}")


def adopt(stage, row):
    edit = seen(stage)[0].edit
    return stage.act(adopt_content, row.pk, edit=edit, why="fewer at a time")


def test_both_ranks_of_plain_objects_become_a_release(stage):
    row = serve(stage)
    add(stage, "statefulset", row.name, "template")
    (found,) = seen(stage)
    assert found.path == "serve.spec.template.spec.containers[vllm].args"
    with pytest.raises(Conflict, match="serve would have other content than serve-w1"):
        adopt(stage, row)
    add(stage, "statefulset", f"{row.name}-w1", "template")

    def serves():
        stage.observe()
        keep(row.pk)
        args = [p["spec"]["containers"][0]["args"] for p in stage.pods()]
        ready = ObservedPod.objects.filter(ready=True, admitted=True, terminating=False)
        return all(WORD in one for one in args) and ready.count() == len(args) == 2

    until("a group with the edit", serves, 90)
    release = adopt(stage, row)
    assert release.arguments == [*row.release.arguments, WORD]
    rollout = stage.roll_out(release, steps=())
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert scaled(stage) == whole(release)
    for one in made(stage, SETS):
        kept = stage.cluster.console.get(f"{SETS}/{one['name']}")
        assert WORD in kept["spec"]["template"]["spec"]["containers"][0]["args"]
    assert seen(stage) == ()


def test_both_templates_of_a_leader_worker_set_become_a_release(group_sets, stage):
    row = serve(stage)
    assert row.manifest["items"][-1]["kind"] == LEADER_WORKER_SET
    add(stage, "leaderworkerset", row.name, "leaderWorkerTemplate/leaderTemplate")
    with pytest.raises(Conflict, match="serve would have other content than serve workers"):
        adopt(stage, row)
    add(stage, "leaderworkerset", row.name, "leaderWorkerTemplate/workerTemplate")
    assert {d.manager for d in seen(stage)} == {"kubectl-patch"}
    assert adopt(stage, row).arguments == [*row.release.arguments, WORD]
