"""A hand edit becomes a release of its own, which is rolled out as any other."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from fleet.actions import drift as drifts
from fleet.actions.adoption import adopt_content
from fleet.models import Deployment, Drift, Release, Service
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import AuditEvent
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_drift import drift, edit, observe

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    found = make_stage()
    row = Deployment.objects.get()
    args = found.fake.deployments[row.name]["spec"]["template"]["spec"]["containers"][0]["args"]
    edit(found, row, args=[*args, "--seed=7"])
    observe(found)
    return found


def adopt(stage, **changes):
    (seen,) = drift(stage)
    fields = {"edit": seen.edit, "why": "it answers better"}
    return stage.act(adopt_content, seen.deployment_id, **fields | changes)


def test_what_runs_is_pinned_and_told(stage):
    assert drift(stage)[0].can_adopt_content
    release = adopt(stage)
    assert release.arguments == ["--seed=7"]
    assert release.fingerprint != Release.objects.order_by("pk")[0].fingerprint
    (found,) = drift(stage)
    assert (found.adopted_as, found.can_adopt_content) == ("r2", False)
    with fleet_scope():
        event = AuditEvent.objects.get(verb="deployment.adopt_content")
    assert event.after["release"] == "r2"
    assert event.after["live"][found.path][-1] == "--seed=7"
    assert Service.objects.get().current_release_id != release.pk  # nobody approved it yet
    assert adopt(stage).pk == release.pk


def test_it_serves_after_its_rollout_and_nothing_old_restarts(stage):
    old, release = Deployment.objects.get(), adopt(stage)
    apply, seen = stage.fake.apply, []

    def told(manifest, **more):
        if manifest["metadata"]["name"] == old.name:
            seen.append(manifest["spec"]["template"]["spec"]["containers"][0]["args"][-1])
        return apply(manifest, **more)

    stage.fake.apply = told
    rollout = stage.propose(release)
    stage.approve(rollout)
    assert stage.run(rollout).phase == Phase.SUCCEEDED, rollout.why
    assert set(seen) == {"--seed=7"}
    assert Service.objects.get().current_release_id == release.pk
    observe(stage)
    assert drift(stage) == ()
    assert Drift.objects.get().adopted_as_id == release.pk


def test_the_way_back_leaves_the_edit_to_be_decided(stage):
    release = adopt(stage)
    stage.fake.behave(release.fingerprint, "crash")
    rollout = stage.propose(release)
    stage.approve(rollout)
    assert stage.run(rollout).phase == Phase.ROLLED_BACK, rollout.why
    observe(stage)
    (found,) = drift(stage)
    assert found.live[-1] == "--seed=7"
    assert found.can_repair


def test_a_newer_edit_is_not_adopted_with_it(stage):
    (before,) = drift(stage)
    edit(stage, Deployment.objects.get(), args=["org/model", "--seed=8"])
    observe(stage)
    with pytest.raises(Conflict, match="changed since you looked"):
        adopt(stage, edit=before.edit)
    with pytest.raises(Conflict, match="given to each release"):
        adopt(stage)
    assert Release.objects.count() == 1


def test_an_edit_after_the_adoption_is_open_again(stage):
    adopt(stage)
    row = Deployment.objects.get()
    args = stage.fake.deployments[row.name]["spec"]["template"]["spec"]["containers"][0]["args"]
    edit(stage, row, args=[*args, "--seed=9"])
    observe(stage)
    assert drift(stage)[0].can_adopt_content


def test_a_repair_takes_the_adoption_back(stage):
    adopt(stage)
    stage.act(drifts.repair, Deployment.objects.get().pk, why="it was worse after all")
    assert Drift.objects.get().adopted_as is None


def test_replicas_are_decided_first(stage):
    row = Deployment.objects.get()
    managed = stage.fake.deployments[row.name]["metadata"]["managedFields"]
    edit(stage, row, manager="kubectl", replicas=6)
    stage.fake.deployments[row.name]["metadata"]["managedFields"] += managed
    observe(stage)
    with pytest.raises(Conflict, match="number of replicas of .* first"):
        stage.act(adopt_content, row.pk, edit=drift(stage)[0].edit, why="both")


def say(*args, **options):
    out = StringIO()
    call_command("drift", *map(str, args), stdout=out, **options)
    return out.getvalue()


def test_a_terminal_lists_adopts_and_repairs(stage):
    by = {"as": "olga@example.com", "why": "it answers better"}
    number, edit, state, *told = say("list", "chat").split()
    assert (state, told[1:5]) == ("open", ["was", "changed", "by", "kubectl-edit:"])
    assert "r2 (rel-" in say("adopt-content", number, "--edit", edit, **by)
    assert "adopted as r2" in say("list")
    with pytest.raises(CommandError, match="as many replicas as declared"):
        say("adopt", number, "--replicas", 3, **by)
    assert "applied again" in say("repair", number, **by)
    assert " repair " in say("list", "chat")
