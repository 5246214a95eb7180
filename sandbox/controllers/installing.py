"""What installing a controller beside a control plane asks of both."""

import contextlib
import socket
from functools import partial
from pathlib import Path

import httpx

from sandbox.cluster.control import Cluster
from sandbox.cluster.kube import ApiStatusError, Json, Kube
from sandbox.controllers.build import MANAGER
from sandbox.process import Process, wait_until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
WEBHOOKS = {
    "MutatingWebhookConfiguration": f"{ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{ADMISSION}/validatingwebhookconfigurations",
}


def define(kube: Kube, definition: Json) -> None:
    """Returns when its kind is served."""
    name = definition["metadata"]["name"]
    kube.apply(f"{DEFINITIONS}/{name}", definition)
    wait_until(f"{name} is served", partial(_served, kube, definition), 30)


def _served(kube: Kube, definition: Json) -> bool:
    spec = definition["spec"]
    version = next(v["name"] for v in spec["versions"] if v["storage"])
    path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    try:
        groups = [g["name"] for g in kube.get("/apis")["groups"]]
        return spec["group"] in groups and "items" in kube.get(path)
    except (ApiStatusError, httpx.HTTPError):
        return False


def undefine(kube: Kube, name: str) -> None:
    with contextlib.suppress(ApiStatusError):
        kube.delete(f"{DEFINITIONS}/{name}")


def hook(kube: Kube, body: Json) -> None:
    kube.apply(f"{WEBHOOKS[body['kind']]}/{body['metadata']['name']}", body)


def unhook(kube: Kube, body: Json) -> None:
    with contextlib.suppress(ApiStatusError):
        kube.delete(f"{WEBHOOKS[body['kind']]}/{body['metadata']['name']}")


def begin(cluster: Cluster, name: str, folder: Path, config: Path) -> Process:
    """The controller that lies in `folder`, as the administrator."""
    argv = [
        str(folder / MANAGER),
        f"--config={config}",
        f"--kubeconfig={cluster.kubeconfig()}",
    ]
    process = Process(name, argv, cluster.data / "logs" / f"{name}.log")
    process.start()
    return process


def must_run(process: Process) -> None:
    """Raises RuntimeError with what it said last when it has exited."""
    if not process.alive:
        raise RuntimeError(f"it exited ({process.poll()}):\n{process.tail()}")


def listens(process: Process, port: int) -> bool:
    """Raises as `must_run` does."""
    must_run(process)
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1.0).close()
        return True
    return False
