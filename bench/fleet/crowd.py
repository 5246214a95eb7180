"""A large fleet written into an API server and into tables. Imported after set-up."""

import time
from concurrent.futures import ThreadPoolExecutor

from django.utils import timezone

from bench.pages.cpu import Cpu
from bench.rollouts.walk import make_person
from fleet.actions import clusters
from fleet.drive.observation import Observer
from fleet.models import (
    Cluster,
    Deployment,
    Drift,
    ModelVersion,
    Node,
    ObservedPod,
    Release,
    Service,
)
from fleet.queries.releases import spec_of
from fleet.rules.manifests import RELEASE, SERVICE, budget, files_of, items_of, render, workload
from fleet.rules.pins import pins_from, stored
from fleet.rules.release import digest_of
from sandbox.cluster.kube import Json, Kube
from tenants.base.scope import fleet_scope

PRODUCT = "NVIDIA-H100-80GB-HBM3"
GPUS = 8  # a node
NODES, DEPLOYMENTS = "/api/v1/nodes", "/apis/apps/v1/namespaces/models/deployments"
PODS = "/api/v1/namespaces/models/pods"
BUDGETS = "/apis/policy/v1/namespaces/models/poddisruptionbudgets"
CONFIGS = "/api/v1/namespaces/models/configmaps"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}\n" * 60  # 4 KB
READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
OBSERVER = Observer()


def write(sandbox, services: int, nodes: int, pods: int) -> Cluster:
    olga = make_person("olga", "operator")
    with fleet_scope():
        text = sandbox.cluster.kubeconfig("console").read_text()
        examined = clusters.examine(olga, kubeconfig=text)
        row = clusters.register(olga, examined, slug="local", region="local-1")
    manifests = [place(row, number) for number in range(services)]
    kube = sandbox.kube()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: add_node(kube, number), range(nodes)))
        list(pool.map(lambda m: declare(kube, m), manifests))
        manifests = [deployment_in(m) for m in manifests]
        several = [(number, manifests[number % services]) for number in range(pods)]
        list(pool.map(lambda one: add_pod(kube, *one, nodes), several))
    return row


def deployment_in(manifest: Json) -> Json:
    return next(m for m in items_of(manifest) if m["kind"] == "Deployment")


def declare(kube: Kube, manifest: Json) -> None:
    """Its Deployment, the file of its release, the budget of its service."""
    made = deployment_in(manifest)
    kube.post(DEPLOYMENTS, made | {"spec": made["spec"] | {"replicas": 10}})
    for config in files_of(manifest):
        kube.post(CONFIGS, config)
    kube.post(BUDGETS, budget(made["metadata"]["labels"][SERVICE], "models"))


def place(cluster: Cluster, number: int) -> Json:
    """A service with a release that is declared in the cluster; what is placed of it."""
    service = Service.objects.create(name=f"model-{number}", cluster=cluster, replicas=10)
    model = ModelVersion.objects.create(name=f"org/model-{number}", commit=f"{number:040x}")
    release = Release(
        service=service, number=1, model_version=model, image="registry.example/vllm",
        image_digest=f"sha256:{number:064x}",
        resources={"gpu_product": PRODUCT, "gpus": 1, "cpu": "4", "memory": "32Gi"},
        arguments=["--max-model-len=4096"], environment={},
        probes={"startup_seconds": 600, "drain_seconds": 60},
        pins=stored(pins_from({"files": {"prompts": {"chat.jinja": TEMPLATE}}})),
    )  # fmt: skip
    release.digest = digest_of(spec_of(release))
    release.save()
    made = workload(render(spec_of(release), "models", 4096))
    Service.objects.filter(pk=service.pk).update(current_release=release)
    Deployment.objects.create(
        service=service, release=release, cluster=cluster, name=made["metadata"]["name"],
        manifest=made, replicas=10, weight=100,
    )  # fmt: skip
    return made


def add_node(kube: Kube, number: int) -> None:
    name = f"gpu-{number:04}"
    labels = {"nvidia.com/gpu.product": PRODUCT, "topology.kubernetes.io/zone": f"z{number % 3}"}
    kube.post(NODES, {"metadata": {"name": name, "labels": labels}})
    room = {"cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": str(GPUS)}
    status = {"capacity": room, "allocatable": room, "conditions": READY}
    kube.patch(f"{NODES}/{name}/status", {"status": status})


def add_pod(kube: Kube, number: int, deployment: Json, nodes: int) -> None:
    name = f"{deployment['metadata']['name']}-{number:05}"
    template = deployment["spec"]["template"]
    spec = template["spec"] | {"nodeName": f"gpu-{number % nodes:04}"}
    labels = {k: template["metadata"]["labels"][k] for k in (SERVICE, RELEASE)}
    kube.post(PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": READY,
        "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [
            {
                "name": c["name"], "image": c["image"], "imageID": c["image"], "ready": True,
                "restartCount": 0, "started": True, "lastState": {},
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
            for c in spec["containers"]
        ],
    }  # fmt: skip
    kube.patch(f"{PODS}/{name}/status", {"status": status})


def look(cluster: Cluster, cpu: Cpu) -> tuple[float, float, float]:
    """Seconds: wall, CPU of this process, CPU of PostgreSQL."""
    Cluster.objects.filter(pk=cluster.pk).update(look_again=None)
    before, began = cpu.spent(), time.monotonic()
    if not OBSERVER.observe(cluster.pk, timezone.now()):
        raise RuntimeError(f"not observed: {Cluster.objects.get(pk=cluster.pk).trouble}")
    wall = time.monotonic() - began
    return wall, *cpu.since(before)


def seen() -> str:
    nodes, pods = Node.objects.count(), ObservedPod.objects.exclude(deployment=None).count()
    differs = Drift.objects.filter(ended_at=None).count()
    services = f"{Service.objects.count():,} services are known, {differs} fields differ"
    return f"{nodes:,} nodes and {pods:,} pods of {services}"
