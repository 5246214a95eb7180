"""The real controller of Kueue beside a control plane, as its own manifests install it.

It makes its own certificates, as it is shipped, and its webhooks are asked for by a Service whose
name outside is `localhost`: there is no network of Services here. It runs as the administrator,
without the server that tells places in a queue.
"""

import base64
import contextlib
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from sandbox.cluster.control import Cluster
from sandbox.cluster.kube import ApiStatusError, Json, Kube
from sandbox.controllers.installing import (
    begin,
    define,
    hook,
    listens,
    must_run,
    undefine,
    unhook,
)
from sandbox.ports import free_port
from sandbox.process import Process, wait_until

GROUP, VERSION = "kueue.x-k8s.io", "v1beta2"
SPACE, PREFIX = "kueue-system", "kueue-"
SERVICE, SECRET = "kueue-webhook-service", "kueue-webhook-server-cert"
# What may hold others, last.
KINDS = ("workloads", "localqueues", "clusterqueues", "cohorts", "resourceflavors")


@dataclass
class RealQueues:
    """Start it from a thread that stays alive."""

    cluster: Cluster
    bin: Path
    kube: Kube = field(init=False)
    process: Process | None = None
    ports: dict[str, int] = field(default_factory=dict)

    def install(self) -> None:
        self.kube = self.cluster.kube()
        folder = self.cluster.data / "kueue"
        config = self._configure(folder)
        self._make_place()
        for definition in self._definitions():
            define(self.kube, definition)
        for body in self._webhooks():
            hook(self.kube, body)
        self.process = begin(self.cluster, "kueue", self.bin, config)
        wait_until("the certificates of Kueue", partial(self._mounted, folder), 60)
        wait_until("the controller of Kueue", partial(listens, self.process, self._webhook), 60)

    def remove(self) -> None:
        """Its objects first, which it lets go; then webhooks, which nobody answers afterwards."""
        self.clear()
        for body in self._webhooks():
            unhook(self.kube, body)
        if self.process:
            self.process.stop(grace=5.0)
        for definition in self._definitions():
            undefine(self.kube, definition["metadata"]["name"])
        self.kube.close()

    def clear(self) -> None:
        """No queue is left, once the pods in them are gone."""
        for kind in KINDS:
            wait_until(f"the end of all {kind}", partial(self._emptied, kind), 60)

    @property
    def _webhook(self) -> int:
        return self.ports["webhook"]

    def _configure(self, folder: Path) -> Path:
        """Its own configuration, with addresses on loopback; one that nobody else leads."""
        folder.mkdir(exist_ok=True)
        for name in ("webhook", "health"):
            self.ports[name] = free_port()
        config = yaml.safe_load((self.bin / "config.yaml").read_text())
        config |= {
            "namespace": SPACE,
            "webhook": {"host": "127.0.0.1", "port": self._webhook, "certDir": str(folder)},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self.ports['health']}"},
            "metrics": {"bindAddress": "0"},
            "leaderElection": {"leaderElect": False},
            "featureGates": {"VisibilityOnDemand": False},
        }
        path = folder / "config.yaml"
        path.write_text(json.dumps(config))
        return path

    def _make_place(self) -> None:
        inside = f"/api/v1/namespaces/{SPACE}"
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
        self.kube.apply(inside, space)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
        self.kube.apply(f"{inside}/secrets/{SECRET}", secret)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        self.kube.apply(f"{inside}/services/{SERVICE}", service)

    def _mounted(self, folder: Path) -> bool:
        """Puts its certificate where it looks for it, as a volume of the secret does."""
        assert self.process is not None
        must_run(self.process)
        data = self.kube.get(f"/api/v1/namespaces/{SPACE}/secrets/{SECRET}").get("data") or {}
        for name, text in data.items():
            (folder / name).write_bytes(base64.b64decode(text))
        return "tls.crt" in data

    def _service(self, path: str) -> Json:
        return {"name": SERVICE, "namespace": SPACE, "path": path, "port": self._webhook}

    def _definitions(self) -> list[Json]:
        """With conversion where its module asks for it."""
        converted = {
            yaml.safe_load(p.read_text())["metadata"]["name"]
            for p in (self.bin / "conversion").glob("webhook_in_*.yaml")
        }
        found = []
        for path in sorted((self.bin / "crd").glob("*.yaml")):
            body: Json = yaml.safe_load(path.read_text())
            if body["metadata"]["name"] in converted and len(body["spec"]["versions"]) > 1:
                webhook = {
                    "clientConfig": {"service": self._service("/convert")},
                    "conversionReviewVersions": ["v1"],
                }
                body["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
            found.append(body)
        return found

    def _webhooks(self) -> list[Json]:
        """As its module has them, with the namespaces that it leaves out."""
        scopes = yaml.safe_load((self.bin / "scopes.yaml").read_text())["patches"]
        left_out = {
            one["name"]: one["namespaceSelector"]
            for patch in scopes
            for one in yaml.safe_load(patch["patch"])["webhooks"]
        }
        found: list[Json] = list(yaml.safe_load_all((self.bin / "webhooks.yaml").read_text()))
        for body in found:
            body["metadata"]["name"] = f"{PREFIX}{body['metadata']['name']}"
            for one in body["webhooks"]:
                path = one["clientConfig"]["service"]["path"]
                one["clientConfig"] = {"service": self._service(path)}
                if one["name"] in left_out:
                    one["namespaceSelector"] = left_out[one["name"]]
        return found

    def _emptied(self, kind: str) -> bool:
        base = f"/apis/{GROUP}/{VERSION}"
        items = self.kube.get(f"{base}/{kind}")["items"]
        for item in items:
            space = item["metadata"].get("namespace")
            within = f"{base}/namespaces/{space}" if space else base
            with contextlib.suppress(ApiStatusError):  # gone already
                self.kube.delete(f"{within}/{kind}/{item['metadata']['name']}")
        return not items
