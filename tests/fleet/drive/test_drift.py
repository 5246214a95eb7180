"""Hand edits are seen, shown with who made them, and repaired or adopted by a person's choice."""

import copy
from types import SimpleNamespace

import pytest
from django.utils import timezone

from fleet.actions import drift as actions
from fleet.actions.drift import store_drift, store_one
from fleet.drive.keep import due_deployments, keep
from fleet.models import Deployment, Drift, Service
from fleet.queries.drift import list_drift
from fleet.queries.overview import get_overview
from fleet.rules.manifests import placed
from fleet.rules.phases import Phase, PlanKind
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
AT = "2026-11-25T12:00:00Z"


@pytest.fixture
def stage():
    return make_stage()


@pytest.fixture
def row(stage):
    return Deployment.objects.get()


def edit(stage, row, manager="kubectl-edit", **spec):
    """As somebody changes it with kubectl; the server notes who it was."""
    found = stage.fake.deployments[row.name]
    found["spec"] |= spec
    container = found["spec"]["template"]["spec"]["containers"][0]
    fields = {f"f:{name}": {} for name in spec}
    if "args" in spec:
        found["spec"].pop("args")
        container["args"] = spec["args"]
        inside = {'k:{"name":"vllm"}': {"f:args": {}}}
        fields = {"f:template": {"f:spec": {"f:containers": inside}}}
    found["metadata"]["managedFields"] = [
        {"manager": manager, "operation": "Update", "time": AT, "fieldsV1": {"f:spec": fields}}
    ]


def observe(stage):
    with fleet_scope():
        live = copy.deepcopy(list(stage.fake.deployments.values()))
        store_drift(stage.cluster, live, timezone.now())


def drift(stage):
    with scope_of(stage.olga):
        return list_drift(stage.olga)


def test_of_paths_that_are_alike_as_far_as_they_are_kept_there_is_one_row(stage, row):
    """The second one broke the whole look at its cluster, again and again."""
    writer = SimpleNamespace(manager="kubectl", operation="Update", at=None)
    seen = [
        SimpleNamespace(text="a" * 300 + end, declared=None, live=end, writer=writer, owned=False)
        for end in "bc"
    ]
    for _ in range(2):
        store_one(row, {d.path: d for d in Drift.objects.all()}, seen, timezone.now())
    assert Drift.objects.get().live == "c"


def test_nothing_is_drift_as_it_was_placed(stage):
    observe(stage)
    assert drift(stage) == ()


def test_an_edit_of_arguments_is_shown_and_repaired_and_the_row_ends(stage, row):
    edit(stage, row, args=["--max-model-len=1"])
    observe(stage)
    (found,) = drift(stage)
    assert found.path == "spec.template.spec.containers[vllm].args"
    assert (found.who, found.written_at.hour) == ("kubectl-edit (Update)", 12)
    stage.act(actions.repair, row.pk, why="nobody approved that")
    assert row.pk in due_deployments()
    stage.fake.owned_by = "kubectl-edit"
    keep(row.pk, stage.outside)
    observe(stage)
    assert drift(stage) == ()
    kept = Drift.objects.get()
    assert (kept.wish, kept.wish_by) == ("repair", "olga@example.com")
    with fleet_scope():
        event = AuditEvent.objects.get(verb="deployment.repair")
    assert event.before == {found.path: ["--max-model-len=1"]}
    assert event.why == "nobody approved that"


def test_other_content_than_replicas_is_not_adopted(stage, row):
    edit(stage, row, args=["--max-model-len=1"])
    observe(stage)
    with pytest.raises(Conflict, match="adopt it as a new release"):
        stage.act(actions.adopt, row.pk, replicas=4, why="keep it")


def test_a_hand_scaled_number_is_left_alone_until_it_is_adopted(stage, row):
    edit(stage, row, manager="kubectl", replicas=6)
    observe(stage)
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 6
    with pytest.raises(Conflict, match="has 6 replicas now, not 5"):
        stage.act(actions.adopt, row.pk, replicas=5, why="more traffic")
    stage.act(actions.adopt, row.pk, replicas=6, why="more traffic")
    keep(row.pk, stage.outside)
    row.refresh_from_db()
    assert (row.replicas, Service.objects.get().replicas) == (6, 6)
    assert ("own_alone", row.name) in stage.fake.calls
    observe(stage)
    assert drift(stage) == ()
    with fleet_scope():
        event = AuditEvent.objects.get(verb="deployment.adopt")
    assert (event.before, event.after["replicas"]) == ({"replicas": 4}, 6)


def test_a_hand_scaled_number_is_repaired(stage, row):
    edit(stage, row, manager="kubectl", replicas=1)
    observe(stage)
    stage.act(actions.repair, row.pk, why="a mistake")
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 4


def test_an_autoscalers_number_is_shown_and_never_fought(stage, row):
    edit(stage, row, manager="kube-controller-manager", replicas=6)
    observe(stage)
    (found,) = drift(stage)
    assert found.owned
    for action, more in ((actions.repair, {}), (actions.adopt, {"replicas": 6})):
        with pytest.raises(Conflict, match="autoscaler owns"):
            stage.act(action, row.pk, why="mine", **more)
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 6
    with scope_of(stage.olga):
        titles = [a.title for a in get_overview(stage.olga, timezone.now()).attention]
    assert "chat is not as wanted" not in titles or "autoscaler" not in str(titles)


def test_a_rollout_is_rejected_before_the_approval_where_somebody_owns_what_must_shrink(stage):
    stage.fake.owned_by = "kube-controller-manager"
    rollout = stage.run(stage.propose(stage.release("b")))
    assert (rollout.phase, rollout.started_at) == (Phase.REJECTED, None)
    assert "r1 has to shrink on the way" in rollout.why
    assert 'conflict with "kube-controller-manager"' in rollout.why
    assert ChangeRequest.objects.get(pk=rollout.change_id).state == "withdrawn"
    blue = stage.propose(stage.release("c"), kind=PlanKind.BLUE_GREEN)
    stage.run(blue, until={Phase.AWAITING_APPROVAL})  # all old replicas stay until it is over


def test_a_repair_beside_an_autoscaler_leaves_its_number(stage, row):
    edit(stage, row, manager="kube-controller-manager", replicas=6)
    managed = stage.fake.deployments[row.name]["metadata"]["managedFields"]
    edit(stage, row, args=["--x"])
    stage.fake.deployments[row.name]["metadata"]["managedFields"] += managed
    observe(stage)
    stage.act(actions.repair, row.pk, why="arguments only")
    keep(row.pk, stage.outside)
    found = stage.fake.deployments[row.name]["spec"]
    assert found["replicas"] == 6
    declared = placed(row.manifest, replicas=4, fence=0)["spec"]["template"]
    assert found["template"] == declared


def test_a_deleted_deployment_is_seen(stage, row):
    del stage.fake.deployments[row.name]
    observe(stage)
    (found,) = drift(stage)
    assert "somebody deleted it" in found.sentence


def test_it_is_on_the_overview(stage, row):
    edit(stage, row, args=["--max-model-len=1"])
    observe(stage)
    with scope_of(stage.olga):
        lines = get_overview(stage.olga, timezone.now()).attention
    assert any("changed by kubectl-edit" in line.why for line in lines)


def test_an_open_rollout_is_not_disturbed(stage, row):
    edit(stage, row, manager="kubectl", replicas=6)
    observe(stage)
    stage.propose(stage.release("b"))
    with pytest.raises(Conflict, match="A rollout of chat is open"):
        stage.act(actions.repair, row.pk, why="now")
    observe(stage)
    assert drift(stage) == ()  # the rollout counts replicas itself


def test_it_needs_a_reason_and_the_right(stage, row):
    edit(stage, row, args=["--x"])
    observe(stage)
    with pytest.raises(Invalid, match="Say why"):
        stage.act(actions.repair, row.pk, why=" ")
    with scope_of(stage.vic), pytest.raises(Forbidden):
        actions.repair(stage.vic, row.pk, why="mine")
