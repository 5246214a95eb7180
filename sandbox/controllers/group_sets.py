"""The real controller of LeaderWorkerSet beside a control plane, as its own manifests install it.

It runs as the administrator, its webhooks are asked for by their address on loopback (there are no
Services here), and one certificate of the cluster's authority serves them.
"""

import base64
import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from sandbox.cluster import certs
from sandbox.cluster.control import Cluster
from sandbox.cluster.kube import Json, Kube
from sandbox.controllers.installing import begin, define, hook, listens, undefine, unhook
from sandbox.ports import free_port
from sandbox.process import Process, wait_until

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
            define(self.kube, yaml.safe_load(path.read_text()))
        folder = self.cluster.data / "lws"
        config = self._configure(folder)
        self.process = begin(self.cluster, "lws", self.bin, config)
        answers = partial(listens, self.process, self.ports["webhook"])
        wait_until("the controller of LeaderWorkerSet", answers, 60)
        for body in self._webhooks():
            hook(self.kube, body)

    def remove(self) -> None:
        """Webhooks first: nobody answers them afterwards."""
        for body in self._webhooks():
            unhook(self.kube, body)
        if self.process:
            self.process.stop(grace=5.0)
        for path in (self.bin / "crd").glob("*.yaml"):
            undefine(self.kube, yaml.safe_load(path.read_text())["metadata"]["name"])
        self.kube.close()

    def _configure(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        authority = certs.Authority(self.cluster.data / "pki")
        authority.issue("lws", "lws-webhook", sans=("127.0.0.1", "localhost"))
        for end, name in (("crt", "tls.crt"), ("key", "tls.key")):
            shutil.copy(authority.dir / f"lws.{end}", folder / name)
        for name in ("webhook", "health"):
            self.ports[name] = free_port()
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

    def _webhooks(self) -> list[Json]:
        """As its module has them, with addresses in place of a Service, pods by their label."""
        ca = (self.cluster.data / "pki" / "ca.crt").read_bytes()
        found: list[Json] = list(yaml.safe_load_all((self.bin / "webhooks.yaml").read_text()))
        for body in found:
            body["metadata"]["name"] = f"lws-{body['metadata']['name']}"
            for one in body["webhooks"]:
                path = one["clientConfig"]["service"]["path"]
                one["clientConfig"] = {
                    "url": f"https://127.0.0.1:{self.ports['webhook']}{path}",
                    "caBundle": base64.b64encode(ca).decode(),
                }
                if one["rules"][0]["resources"] == ["pods"]:
                    one["objectSelector"] = OURS
        return found
