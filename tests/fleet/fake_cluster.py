"""A cluster in memory with the methods that the observer asks of one, and makers of its objects."""

from datetime import UTC, datetime

from fleet.clients.errors import Temporary
from fleet.rules.manifests import ADMITTED, RELEASE, SERVICE
from fleet.rules.members import SETS

CREATED = "2026-11-20T11:00:00Z"


def make_node(name="h100-1", *, gpus=4, ready=True, cordoned=False, product="NVIDIA-H100", **more):
    return {
        "metadata": {
            "name": name,
            "labels": {
                "nvidia.com/gpu.product": product,
                "nvidia.com/gpu.clique": "a.1",
                "topology.kubernetes.io/zone": "z1",
            },
        },
        "spec": {"unschedulable": cordoned} | more,
        "status": {
            "allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "8"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "Unknown",
                    "message": "" if ready else "Kubelet stopped posting node status.",
                }
            ],
        },
    }


def make_pod(
    name="chat-1",
    *,
    node="h100-1",
    gpus=1,
    service="chat",
    release="rel-aaaaaaaaaaaa",
    ready=True,
    admitted=True,
    terminating=False,
    phase="Running",
    namespace="models",
    address="10.0.0.1",
    container=None,
):
    labels = {SERVICE: service, RELEASE: release} if service else {}
    gone = {"deletionTimestamp": CREATED} if terminating else {}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": CREATED,
        }
        | gone,
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "vllm", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}}}
            ],
        },
        "status": {
            "phase": phase,
            "podIP": address,
            "conditions": [
                {
                    "type": "ContainersReady",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": "2026-11-20T11:01:00Z",
                },
                {"type": ADMITTED, "status": "True" if admitted else "False"},
                {"type": "PodScheduled", "status": "True"},
            ],
            "containerStatuses": [
                container or {"restartCount": 0, "imageID": "registry/vllm@sha256:abc", "state": {}}
            ],
        },
    }


def make_event(uid="e1", *, reason="BackOff", kind="Pod", name="chat-1", count=1):
    return {
        "metadata": {"uid": uid, "creationTimestamp": CREATED},
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": "Back-off restarting failed container",
        "type": "Warning",
        "count": count,
        "lastTimestamp": "2026-11-20T11:59:00Z",
    }


class FakeCluster:
    """`failing` names the list that fails; `denied` the resources that the account may not use."""

    def __init__(self, nodes=(), pods=(), events=()):
        self.nodes, self.pods, self.events = list(nodes), list(pods), list(events)
        self.quotas, self.budgets = [], []
        self.deployments, self.around = [], []
        self.group_sets = False  # it has LeaderWorkerSet
        self.kueue = {}  # kinds of objects; empty: the cluster has none
        self.failing = ""
        self.denied = {"pods/"}  # "resource/namespace"
        self.connections = 0
        self.closed = 0

    def __call__(self, access):
        self.connections += 1
        return self

    def server_version(self):
        self._fail("version")
        return "v1.36.2"

    def list_nodes(self):
        self._fail("nodes")
        return self.nodes

    def list_pods(self, namespace, selector=""):
        self._fail("pods")
        found = [p for p in self.pods if not namespace or p["metadata"]["namespace"] == namespace]
        if not selector:
            return found
        chosen = selector.partition("(")[2].rstrip(")").split(",")
        return [p for p in found if p["metadata"]["labels"].get(SERVICE) in chosen]

    def list_deployments(self, namespace, selector="", kind="Deployment", version="v1"):
        self._fail("deployments")
        return [d for d in self.deployments if d.get("kind", "Deployment") == kind]

    def list_events(self, namespace, field_selector=""):
        self._fail("events")
        return self.events

    def list_quotas(self, namespace):
        return self.quotas

    def list_budgets(self, namespace):
        return self.budgets

    def list_around(self, namespace, kind, selector=""):
        return [item for item in self.around if item["kind"] == kind]

    def extensions(self):
        kueue = {"kueue.x-k8s.io": "v1beta1"} if self.kueue else {}
        return kueue | ({SETS: "v1"} if self.group_sets else {})

    def list_kueue(self, version, namespace):
        return self.kueue

    def may(self, question):
        return f"{question.resource}/{question.namespace}" not in self.denied, ""

    def close(self):
        self.closed += 1

    def _fail(self, what):
        if self.failing == what:
            raise Temporary("The cluster's API does not answer: connection refused")


NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
