"""What somebody edits or deletes beside the Deployments of a service is seen and repaired."""

import copy

import pytest
from django.utils import timezone

from fleet.actions import drift as actions
from fleet.actions.drift import Around, store_drift
from fleet.clients.errors import Permanent
from fleet.drive.keep import keep
from fleet.models import Deployment, Drift
from fleet.queries.drift import list_drift
from fleet.rules.around import KINDS
from tenants.base.scope import fleet_scope, scope_of
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
FILES = {"pins": {"files": {"prompts": {"chat.jinja": "{{ messages }}"}}}}
GROUP = {
    "arguments": ["--tensor-parallel-size=2"],
    "resources": {"gpu_product": "NVIDIA-H100-80GB-HBM3", "gpus": 1, "group_size": 2},
}


@pytest.fixture
def stage():
    """One replica of two pods, so that all kinds of objects are there, and the budget's repair
    done once.
    """
    found = make_stage(replicas=1, gpus=4, **(FILES | GROUP))
    observe(found)
    found.act(actions.repair, Deployment.objects.get().pk, why="it was not there yet")
    keep(Deployment.objects.get().pk, found.outside)
    observe(found)
    assert drift(found) == ()
    return found


def observe(stage, watched=KINDS):
    with fleet_scope():
        live = copy.deepcopy(list(stage.fake.deployments.values()))
        around = Around([i for i in stage.fake.beside.values() if i["kind"] in watched], watched)
        store_drift(stage.cluster, live, timezone.now(), around)


def drift(stage):
    with scope_of(stage.olga):
        return list_drift(stage.olga)


def edited(stage, kind, fields, **spec):
    """As `kubectl edit` does it."""
    (found,) = (i for (k, _), i in stage.fake.beside.items() if k == kind)
    found.get("spec", found).update(spec)
    found["metadata"]["uid"] = f"u-{kind}"
    found["metadata"]["managedFields"] = [
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-25T12:00:00Z",
         "fieldsV1": fields}
    ]  # fmt: skip
    return found["metadata"]["name"]


def test_all_kinds_are_there(stage):
    assert {kind for kind, _ in stage.fake.beside} == KINDS


def test_an_edited_network_policy_is_shown_with_its_author_and_repaired(stage):
    name = edited(stage, "NetworkPolicy", {"f:spec": {"f:ingress": {}}}, ingress=[{}])
    observe(stage)
    (found,) = drift(stage)
    assert found.path == f"NetworkPolicy[{name}].spec.ingress"
    assert (found.who, found.live) == ("kubectl-edit (Update)", [{}])
    assert not found.can_adopt
    stage.fake.calls.clear()
    stage.act(actions.repair, found.deployment_id, why="it lets strangers in")
    keep(found.deployment_id, stage.outside)
    observe(stage)
    assert drift(stage) == ()
    policy = stage.fake.beside["NetworkPolicy", name]
    assert policy["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    applied = [name for verb, name in stage.fake.calls if verb == "apply"]
    assert [n for n in applied if n not in stage.fake.deployments] == [name]


def test_what_was_added_to_a_budget_goes_before_it_is_applied(stage):
    fields = {"f:spec": {"f:minAvailable": {}, "f:maxUnavailable": {}}}
    edited(stage, "PodDisruptionBudget", fields, minAvailable=0, maxUnavailable=None)
    observe(stage)
    paths = {d.path: d.manager for d in drift(stage)}
    assert paths == {
        "PodDisruptionBudget[chat].spec.minAvailable": "kubectl-edit",
        "PodDisruptionBudget[chat].spec.maxUnavailable": "kubectl-edit",
    }
    row = Deployment.objects.get()
    stage.fake.calls.clear()
    stage.act(actions.repair, row.pk, why="drains would take all")
    keep(row.pk, stage.outside)
    assert stage.fake.taken_away == [{"spec": {"minAvailable": None}}]
    told = [c for c in stage.fake.calls if c[1] == "chat"]
    assert told == [("take_away", "chat"), ("apply", "chat")]


def test_deleted_objects_are_seen_and_made_again_once_somebody_wants_it(stage):
    there = set(stage.fake.beside)
    stage.fake.beside.clear()
    observe(stage)
    found = drift(stage)
    told = {d.sentence.partition(" is declared and not in the cluster")[0] for d in found}
    assert told == {f"{kind} {name}" for kind, name in there}
    row = Deployment.objects.get()
    keep(row.pk, stage.outside)
    assert stage.fake.beside == {}
    stage.act(actions.repair, row.pk, why="a mistake")
    keep(row.pk, stage.outside)
    observe(stage)
    assert set(stage.fake.beside) == there
    assert drift(stage) == ()


def test_a_service_and_files_are_compared_too(stage):
    inside = {'k:{"port":29501,"protocol":"TCP"}': {"f:port": {}}}
    edited(stage, "Service", {"f:spec": {"f:ports": inside}}, publishNotReadyAddresses=False)
    edited(stage, "ConfigMap", {"f:data": {"f:more": {}}}, data={"chat.jinja": "x", "more": "y"})
    observe(stage)
    told = {d.path.partition("]")[2]: d.live for d in drift(stage)}
    assert told == {
        ".spec.publishNotReadyAddresses": False, ".data.chat.jinja": "x", ".data.more": "y",
    }  # fmt: skip


def test_files_made_anew_with_other_content_say_the_way_out(stage):
    name = edited(stage, "ConfigMap", {}, data={"chat.jinja": "x"})
    observe(stage)
    row = Deployment.objects.get()
    stage.act(actions.repair, row.pk, why="another template")
    apply = stage.fake.apply

    def immutable(manifest, **more):
        if manifest["kind"] == "ConfigMap":
            raise Permanent("field is immutable", status=422)
        return apply(manifest, **more)

    stage.fake.apply = immutable
    keep(row.pk, stage.outside)
    assert f"kubectl delete configmap {name}" in Drift.objects.get(ended_at=None).trouble


def test_kinds_that_may_not_be_listed_are_neither_missed_nor_forgotten(stage):
    edited(stage, "Service", {}, publishNotReadyAddresses=False)
    observe(stage)
    stage.fake.beside.clear()
    observe(stage, watched=KINDS - {"Service", "ConfigMap", "NetworkPolicy"})
    kinds = {d.path.partition("[")[0] for d in drift(stage)}
    assert kinds == {"Service", "PodDisruptionBudget"}


def test_an_open_rollout_makes_its_own(stage):
    stage.propose(stage.release("b"))
    stage.fake.beside.clear()
    observe(stage)
    assert drift(stage) == ()
