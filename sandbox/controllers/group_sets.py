"""The real controller of LeaderWorkerSet beside a control plane, as its own manifests install it.

It runs as the administrator, its webhooks are asked for by their address on loopback (there are no
Services here), and one certificate of the cluster's authority serves them.
"""

import base64
import contextlib
import json
import shutil
import socket
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import yaml

from sandbox.cluster import certs
from sandbox.cluster.control import Cluster, free_port
from sandbox.cluster.kube import ApiStatusError, Json, Kube
from sandbox.controllers.build import MANAGER
from sandbox.process import Process, wait_until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "MutatingWebhookConfiguration": f"{ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{ADMISSION}/validatingwebhookconfigurations",
}
OURS = {"matchExpressions": [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]}


@dataclass
class RealGroupSets:
    """Start it from a thread that stays alive."""

    cluster: Cluster
    bin: Path
    kube: Kube = field(init=False)
    process: Process | None = None
    ports: dict[str, int] = field(default_factory=dict)

    def install(self) -> None:
        self.kube = self.cluster.kube()
        for path in sorted((self.bin / "crd").glob("*.yaml")):
            body = yaml.safe_load(path.read_text())
            self.kube.apply(f"{DEFINITIONS}/{body['metadata']['name']}", body)
            wait_until(f"{path.stem} is served", partial(self._served, body), 30)
        folder = self.cluster.data / "lws"
        config = self._configure(folder)
        argv = [
            str(self.bin / MANAGER),
            f"--config={config}",
            f"--kubeconfig={self.cluster.kubeconfig()}",
        ]
        self.process = Process("lws", argv, self.cluster.data / "logs" / "lws.log")
        self.process.start()
        wait_until("the controller of LeaderWorkerSet", self._answers, 60)
        for body in self._webhooks():
            self.kube.apply(f"{PATHS[body['kind']]}/{body['metadata']['name']}", body)

    def remove(self) -> None:
        """Webhooks first: nobody answers them afterwards."""
        for body in self._webhooks():
            with contextlib.suppress(ApiStatusError):
                self.kube.delete(f"{PATHS[body['kind']]}/{body['metadata']['name']}")
        if self.process:
            self.process.stop(grace=5.0)
        for path in (self.bin / "crd").glob("*.yaml"):
            body = yaml.safe_load(path.read_text())
            with contextlib.suppress(ApiStatusError):
                self.kube.delete(f"{DEFINITIONS}/{body['metadata']['name']}")
        self.kube.close()

    def _served(self, definition: Json) -> bool:
        spec = definition["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        try:
            groups = [g["name"] for g in self.kube.get("/apis")["groups"]]
            return spec["group"] in groups and "items" in self.kube.get(path)
        except (ApiStatusError, httpx.HTTPError):
            return False

    def _configure(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        authority = certs.Authority(self.cluster.data / "pki")
        authority.issue("lws", "lws-webhook", sans=("127.0.0.1", "localhost"))
        for end, name in (("crt", "tls.crt"), ("key", "tls.key")):
            shutil.copy(authority.dir / f"lws.{end}", folder / name)
        taken = set(self.cluster.ports.values())
        for name in ("webhook", "health"):
            self.ports[name] = free_port(taken | set(self.ports.values()))
        config = {
            "apiVersion": "config.lws.x-k8s.io/v1alpha1",
            "kind": "Configuration",
            "webhook": {
                "host": "127.0.0.1", "port": self.ports["webhook"], "certDir": str(folder),
            },
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self.ports['health']}"},
            "metrics": {"bindAddress": "0"},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
        }  # fmt: skip
        path = folder / "config.yaml"
        path.write_text(json.dumps(config))
        return path

    def _answers(self) -> bool:
        """Its webhooks are served."""
        assert self.process is not None
        if not self.process.alive:
            raise RuntimeError(f"it exited ({self.process.poll()}):\n{self.process.tail()}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.ports["webhook"]), 1.0).close()
            return True
        return False

    def _webhooks(self) -> list[Json]:
        """As its module has them, with addresses in place of a Service, pods by their label."""
        ca = (self.cluster.data / "pki" / "ca.crt").read_bytes()
        found: list[Json] = list(yaml.safe_load_all((self.bin / "webhooks.yaml").read_text()))
        for body in found:
            body["metadata"]["name"] = f"lws-{body['metadata']['name']}"
            for hook in body["webhooks"]:
                path = hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {
                    "url": f"https://127.0.0.1:{self.ports['webhook']}{path}",
                    "caBundle": base64.b64encode(ca).decode(),
                }
                if hook["rules"][0]["resources"] == ["pods"]:
                    hook["objectSelector"] = OURS
        return found
