"""Declared against live: what is a difference, who wrote it, and what takes it away."""

import copy

import pytest

from fleet.rules.declared import differences, lines_between, released, removal, text_of
from fleet.rules.quantity import same

TIME = "2026-11-25T12:00:00Z"
DECLARED = {
    "kind": "Deployment",
    "metadata": {"name": "chat-1", "labels": {"a": "b"}, "annotations": {}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "nodeSelector": {"gpu": "H100"},
                "containers": [
                    {
                        "name": "vllm",
                        "image": "r/vllm@sha256:1",
                        "args": ["--a", "--b"],
                        "env": [{"name": "X", "value": "1"}, {"name": "EMPTY", "value": ""}],
                        "resources": {"limits": {"memory": "1024Mi"}},
                    }
                ],
            }
        },
    },
}
CONTAINER = {
    "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"vllm"}': {
        ".": {}, "f:args": {}, "f:image": {}, "f:env": {'k:{"name":"X"}': {"f:value": {}}},
    }}}}}
}  # fmt: skip


def live(**managed):
    """As the server has it: with its defaults and its own words for quantities."""
    found = copy.deepcopy(DECLARED)
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["terminationMessagePath"] = "/dev/termination-log"
    container["resources"]["limits"]["memory"] = "1Gi"
    del container["env"][1]["value"]
    found["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3"}
    found["metadata"]["managedFields"] = [
        {"manager": manager.replace("_", "-"), "operation": "Update", "time": TIME,
         "fieldsV1": fields}
        for manager, fields in managed.items()
    ]  # fmt: skip
    return found, container


def test_defaults_of_the_server_are_no_drift():
    assert differences(DECLARED, live()[0]) == ()


def test_it_names_the_field_and_who_wrote_it():
    found, container = live(kubectl_edit=CONTAINER)
    container["args"] = ["--a", "--c"]
    (difference,) = differences(DECLARED, found)
    assert difference.text == "spec.template.spec.containers[vllm].args"
    assert (difference.declared, difference.live) == (["--a", "--b"], ["--a", "--c"])
    assert difference.writer.manager == "kubectl-edit"
    assert difference.writer.at.isoformat() == "2026-11-25T12:00:00+00:00"


def test_what_we_wrote_last_is_on_its_way():
    found, _ = live(quartermaster_rollout={"f:spec": {"f:replicas": {}}})
    found["spec"]["replicas"] = 5
    assert differences(DECLARED, found) == ()


@pytest.mark.parametrize(
    ("manager", "owned"),
    [("kubectl", False), ("kube_controller_manager", True), ("keda_operator", True)],
)
def test_an_autoscaler_owns_its_number(manager, owned):
    found, _ = live(
        **{manager: {"f:spec": {"f:replicas": {}}}, "other": {"f:metadata": {"f:labels": {}}}}
    )
    found["spec"]["replicas"] = 5
    (difference,) = differences(DECLARED, found)
    assert (difference.text, difference.owned) == ("spec.replicas", owned)


def test_additions_that_change_the_engine_are_seen_and_can_be_taken_away():
    found, container = live(kubectl_set=CONTAINER)
    container["env"].append({"name": "Y", "value": "2"})
    found["spec"]["template"]["spec"]["nodeSelector"]["zone"] = "z1"
    found["spec"]["template"]["spec"]["initContainers"] = [{"name": "spy", "image": "x"}]
    added = differences(DECLARED, found)
    assert sorted(d.text for d in added) == [
        "spec.template.spec.containers[vllm].env[Y]",
        "spec.template.spec.initContainers[spy]",
        "spec.template.spec.nodeSelector.zone",
    ]
    assert removal([d.path for d in sorted(added, key=lambda d: d.text)]) == {
        "spec": {"template": {"spec": {
            "containers": [{"name": "vllm", "env": [{"name": "Y", "$patch": "delete"}]}],
            "initContainers": [{"name": "spy", "$patch": "delete"}],
            "nodeSelector": {"zone": None},
        }}}
    }  # fmt: skip


def test_what_is_gone_is_seen_and_nobody_is_named():
    found, container = live()
    del container["env"][0]
    (difference,) = differences(DECLARED, found)
    assert difference.text == "spec.template.spec.containers[vllm].env[X]"
    assert (difference.live, difference.writer.manager) == (None, "")


def test_lists_and_texts_are_shown_by_what_went_and_what_came():
    assert lines_between(["--a", "--b"], ["--a", "--c"]) == ("- --b", "+ --c")
    assert lines_between("x\ny\n", "x\nz\ny\n") == ("+ z",)
    assert lines_between([{"b": 1, "a": 2}], [{}]) == ('- {"a": 2, "b": 1}', "+ {}")
    assert lines_between(1, 2) == lines_between("x", "y") == lines_between(["a"], None) == ()


def test_a_replica_number_is_handed_over_whole():
    found, _ = live(
        quartermaster_rollout={"f:spec": {"f:replicas": {}}},
        kubectl={"f:spec": {"f:replicas": {}}},
        other={"f:spec": {"f:replicas": {}, "f:paused": {}}},
    )
    found["spec"]["replicas"] = 5
    (difference,) = differences(DECLARED, found)
    managed = released(found["metadata"]["managedFields"], difference.path)
    assert [(m["manager"], m["fieldsV1"]) for m in managed] == [
        ("quartermaster-rollout", {"f:spec": {"f:replicas": {}}}),
        ("other", {"f:spec": {"f:paused": {}}}),
    ]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [("1", "1000m", True), ("1024Mi", "1Gi", True), ("1", "2", False), ("x", "y", False),
     ("100m", "0.1", True)],
)  # fmt: skip
def test_quantities_are_compared_by_their_amount(one, other, equal):
    assert same(one, other) is equal


def test_paths_read_as_people_write_them():
    assert text_of(()) == ""
