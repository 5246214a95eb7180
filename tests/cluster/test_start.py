"""The control plane, its nodes and the console's rights."""

import base64
import json

import pytest

from sandbox.cluster.control import AlreadyRunning, Cluster
from sandbox.cluster.kube import ApiStatusError
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import NAMESPACE, condition, is_ready, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120, func_only=True)]


def test_it_serves_the_version_of_its_module(cluster: RunningCluster):
    assert cluster.console.get("/version")["gitVersion"] == "v1.36.3"


def test_it_registers_gpu_nodes_of_two_products(cluster: RunningCluster):
    def up():
        found = cluster.console.get("/api/v1/nodes")["items"]
        clean = all(is_ready(n) and not n["spec"].get("taints") for n in found)
        return found if len(found) == 3 and clean else None

    nodes = {n["metadata"]["name"]: n for n in until("3 nodes ready", up)}
    assert set(nodes) == {"h100-1", "h100-2", "l40s-1"}
    labels = nodes["h100-2"]["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert labels["nvidia.com/gpu.memory"] == "81559"
    assert labels["topology.kubernetes.io/zone"] == "local-1b"
    assert nodes["l40s-1"]["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L40S"
    assert {n["status"]["allocatable"]["nvidia.com/gpu"] for n in nodes.values()} == {"4"}


def test_it_has_priorities_that_put_production_first(cluster: RunningCluster):
    found = cluster.console.get("/apis/scheduling.k8s.io/v1/priorityclasses")["items"]
    classes = {c["metadata"]["name"]: c for c in found}
    assert classes["serving-stable"]["value"] > classes["serving-canary"]["value"]
    assert classes["serving-canary"]["preemptionPolicy"] == "Never"


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/namespaces/{NAMESPACE}/secrets",
        "/api/v1/namespaces/default/configmaps",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/api/v1/namespaces/sandbox-system/serviceaccounts",
    ],
)
def test_it_refuses_the_console_what_it_does_not_need(cluster: RunningCluster, path: str):
    with pytest.raises(ApiStatusError) as refused:
        cluster.console.get(path)
    assert refused.value.code == 403


def test_it_refuses_the_console_to_write_nodes(cluster: RunningCluster):
    with pytest.raises(ApiStatusError) as refused:
        cluster.console.patch("/api/v1/nodes/h100-1", {"metadata": {"labels": {"a": "b"}}})
    assert refused.value.code == 403


def test_it_writes_a_kubeconfig_that_can_be_pasted(cluster: RunningCluster):
    config = json.loads(cluster.kubeconfig.read_text())
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    assert base64.b64decode(authority).startswith(b"-----BEGIN CERTIFICATE")
    assert config["users"][0]["user"]["token"]
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0


def test_it_refuses_a_second_start_on_the_same_folder(cluster: RunningCluster):
    with pytest.raises(AlreadyRunning):
        Cluster(cluster.sandbox.cluster.config).start()


def test_it_tells_disk_pressure_and_its_end(cluster: RunningCluster):
    def pressure():
        node = cluster.console.get("/api/v1/nodes/l40s-1")
        taints = [t["key"] for t in node["spec"].get("taints") or []]
        tainted = "node.kubernetes.io/disk-pressure" in taints
        return condition(node, "DiskPressure")["status"], tainted

    cluster.fault(op="disk_full", node="l40s-1")
    until("pressure", lambda: pressure() == ("True", True))
    cluster.fault(op="disk_free", node="l40s-1")
    until("its end", lambda: pressure() == ("False", False))
