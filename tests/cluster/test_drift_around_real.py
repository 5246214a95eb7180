"""Hand edits with the real kubectl of what is beside the workloads: seen, named, repaired."""

import pytest

from fleet.actions import drift as actions
from fleet.drive.keep import keep
from fleet.models import Deployment, Service
from fleet.queries.releases import spec_of
from fleet.rules.manifests import render, workload
from tests.cluster.rollout_stage import make_real_stage
from tests.cluster.test_drift_real import kubectl, seen

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),
]
GROUP = {
    "arguments": ["--tensor-parallel-size=2"],
    # No node has it: the objects are there, and no pod starts.
    "resources": {"gpu_product": "NVIDIA-NONE", "gpus": 1, "group_size": 2, "memory": "1Gi"},
    "pins": {"files": {"prompts": {"chat.jinja": "{{ messages }}\n"}}},
}


@pytest.fixture
def placed(bare):
    """A service with all kinds of objects, as its rollout left them."""
    stage = make_real_stage(bare, "beside", replicas=1)
    release = stage.release(**GROUP)
    made = workload(render(spec_of(release), "models", stage.service.max_model_len))
    row = Deployment.objects.create(
        service=stage.service, release=release, cluster=stage.row, name=made["metadata"]["name"],
        manifest=made, replicas=1,
    )  # fmt: skip
    Service.objects.filter(pk=stage.service.pk).update(current_release=release)
    keep(row.pk)
    yield stage, row
    for kind in ("statefulset", "pdb"):  # the rest goes with its owner
        kubectl(stage, "delete", kind, "-l", "quartermaster.dev/service=beside")


def repaired(stage, row):
    stage.act(actions.repair, row.pk, why="nobody approved that")
    keep(row.pk)
    return seen(stage)


def test_what_people_do_beside_the_workloads_is_seen_and_repaired(placed):
    stage, row = placed
    (gone,) = seen(stage)  # as after `kubectl delete pdb`: no rollout made it
    assert gone.sentence == (
        "PodDisruptionBudget beside is declared and not in the cluster: somebody deleted it"
    )
    assert repaired(stage, row) == ()
    names = {m["kind"]: m["metadata"]["name"] for m in row.manifest["items"]}
    policy, files, peers = (names[k] for k in ("NetworkPolicy", "ConfigMap", "Service"))
    spec = '{"spec":{"minAvailable":0,"maxUnavailable":null}}'
    kubectl(stage, "patch", "pdb", "beside", "--type=merge", f"-p={spec}")
    opened = '[{"op":"replace","path":"/spec/ingress","value":[{}]}]'
    kubectl(stage, "patch", "networkpolicy", policy, "--type=json", f"-p={opened}")
    port = '[{"op":"replace","path":"/spec/ports/0/port","value":1}]'
    kubectl(stage, "patch", "service", peers, "--type=json", f"-p={port}")
    kubectl(stage, "label", "configmap", files, "quartermaster.dev/service=other", "--overwrite")
    found = {d.path: d for d in seen(stage)}
    assert set(found) == {
        "PodDisruptionBudget[beside].spec.minAvailable",
        "PodDisruptionBudget[beside].spec.maxUnavailable",
        f"NetworkPolicy[{policy}].spec.ingress",
        f"Service[{peers}].spec.ports[29501]",
        f"Service[{peers}].spec.ports[1]",
        f"ConfigMap[{files}].metadata.labels.quartermaster.dev/service",
    }
    assert found[f"NetworkPolicy[{policy}].spec.ingress"].manager == "kubectl-patch"
    assert found["PodDisruptionBudget[beside].spec.minAvailable"].manager == "kubectl-patch"
    assert repaired(stage, row) == ()

    kubectl(stage, "delete", "networkpolicy", policy)
    kubectl(stage, "delete", "service", peers)
    kubectl(stage, "delete", "configmap", files)
    kubectl(stage, "create", "configmap", files, "--from-literal=chat.jinja=mine")
    kinds = sorted({d.path.partition("[")[0] for d in seen(stage)})
    assert kinds == ["ConfigMap", "NetworkPolicy", "Service"]
    assert repaired(stage, row) == ()
    config = stage.cluster.admin.get(f"/api/v1/namespaces/models/configmaps/{files}")
    assert (config["data"], config["immutable"]) == ({"chat.jinja": "{{ messages }}\n"}, True)
    assert config["metadata"]["ownerReferences"][0]["name"] == row.name
