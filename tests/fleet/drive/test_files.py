"""A release's files on the way: before its pods, on the way back too, and adopted replicas."""

import pytest

from fleet.actions.drift import adopt
from fleet.drive.keep import keep
from fleet.drive.place import put
from fleet.models import Deployment
from fleet.queries.by_hand import way_back_by_hand
from fleet.rules.manifests import render, workload
from fleet.rules.phases import Phase
from fleet.rules.pins import pins_from
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_drift import edit, observe
from tests.fleet.rules.walk import make_spec

pytestmark = pytest.mark.django_db(transaction=True)
FILES = {"pins": {"files": {"prompts": {"chat.jinja": "{{ messages }}"}}}}


@pytest.fixture
def stage():
    return make_stage(replicas=2, gpus=4)


class Told:
    """Writes in the order in which they came."""

    def __init__(self):
        self.applied = []

    def apply(self, manifest, **more):
        self.applied.append(manifest)
        found = manifest | {"metadata": dict(manifest["metadata"])}
        if manifest["kind"] == "Deployment":
            found["metadata"]["uid"] = "d1"
        return found


def test_files_come_before_the_pods_and_belong_to_the_deployment():
    told = Told()
    made = workload(render(make_spec(pins=pins_from(FILES["pins"])), "models", 4096))
    put(told, made, replicas=1, fence=3)
    assert [m["kind"] for m in told.applied] == ["ConfigMap", "Deployment", "ConfigMap"]
    owners = [m["metadata"].get("ownerReferences") for m in told.applied[::2]]
    assert owners[0] is None
    assert [(o["kind"], o["uid"]) for o in owners[1]] == [("Deployment", "d1")]


def test_a_rollout_to_a_release_with_files_ends_and_goes_back(stage):
    release = stage.release("b", **FILES)
    rollout = stage.propose(release)
    stage.approve(rollout)
    assert stage.run(rollout).phase == Phase.SUCCEEDED, rollout.why
    assert [m["kind"] for m in rollout.manifests].count("ConfigMap") == 1
    names = [name for verb, name in stage.fake.calls if verb == "apply"]
    config = next(n for n in names if "-prompts-" in n)
    assert names.index(config) < names.index(f"chat-{release.digest[:8]}")
    dry = [name for verb, name in stage.fake.calls if verb == "dry_run"]
    assert config in dry  # the API server judged it before anybody was asked
    lines = stage.act(way_back_by_hand, rollout.pk)
    assert any("delete deployment" in line for line in lines)


def test_replicas_of_a_release_with_files_are_adopted_and_kept():
    stage = make_stage(replicas=2, **FILES)
    row = Deployment.objects.get()
    assert row.manifest["kind"] == "List"
    edit(stage, row, manager="kubectl", replicas=3)
    observe(stage)
    stage.act(adopt, row.pk, replicas=3, why="more traffic")
    keep(row.pk, stage.outside)
    row.refresh_from_db()
    assert row.replicas == 3
    observe(stage)
    del stage.fake.deployments[row.name]
    stage.fake.calls.clear()
    keep(row.pk, stage.outside)
    made = [name for verb, name in stage.fake.calls if verb == "apply"]
    assert "-prompts-" in made[0]
    assert made[1] == row.name
