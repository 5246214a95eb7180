"""A real Kubernetes control plane on loopback: etcd, API server, controllers, scheduler.

A start on a directory that was used before continues with its state, certificates and (if they
are free) ports. Every process dies with this one. The control plane alone has no nodes:
machine.Sandbox brings it up together with the node agent.

etcd runs with --unsafe-no-fsync: a power cut may lose data, a killed process does not.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self

import httpx

from sandbox.cluster import certs, rbac
from sandbox.cluster.kube import Access, ApiStatusError, Kube
from sandbox.ports import free_port, port_is_free
from sandbox.process import Process, wait_until

SERVICE_CIDR, SERVICE_IP = "10.0.0.0/24", "10.0.0.1"
PORT_NAMES = ("etcd", "etcd_peer", "apiserver", "kcm", "scheduler")

# step (such as "apiserver"), percent of the start (0..100)
Step = Callable[[str, float], None]


def silent(step: str, percent: float) -> None:
    """A progress callback that tells nobody."""


@dataclass
class Config:
    data: Path
    bin: Path
    ports: dict[str, int] = field(default_factory=dict)  # missing ones are chosen
    system_namespace: str = "sandbox-system"
    namespaces: list[str] = field(default_factory=lambda: ["models"])
    # The file is renewed every hour; a copy that somebody pasted lasts this long.
    token_seconds: int = 30 * 24 * 3600
    # How fast a silent node is noticed; upstream: 50 s grace, 5 s period, 300 s toleration.
    node_grace: float = 8.0
    node_period: float = 1.0
    toleration_seconds: int = 300


class AlreadyRunning(Exception):
    """Another process holds this data directory."""


class Cluster:
    """Start it with `with Cluster(config) as c:` from a thread that stays alive."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.data = config.data.resolve()
        self.ports: dict[str, int] = {}
        self.processes: dict[str, Process] = {}
        self._lock: IO[str] | None = None

    # -- life -----------------------------------------------------------------
    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, step: Step = silent) -> dict[str, float]:
        """Bring everything up; returns the seconds at which each step was done."""
        began = time.monotonic()
        marks: dict[str, float] = {}

        def mark(name: str, percent: float) -> None:
            marks[name] = round(time.monotonic() - began, 2)
            step(name, percent)

        self._acquire()
        self._choose_ports()
        certs.make_pki(self.data / "pki", SERVICE_IP)
        certs.write_client_kubeconfigs(self.data, self.server)
        mark("certificates", 5)
        self._spawn("etcd", self._etcd_argv())
        self._spawn("apiserver", self._apiserver_argv())
        self._wait_ready("apiserver", "/readyz", 90)
        mark("apiserver", 50)
        # These two give up soon when there is no API server: start them after it.
        self._spawn("kcm", self._kcm_argv())
        self._spawn("scheduler", self._scheduler_argv())
        kube = self.kube()
        self._set_up_objects(kube)
        mark("rbac", 60)
        self._wait_ready("kcm", "/healthz", 60)
        self._wait_ready("scheduler", "/healthz", 60)
        account = f"/api/v1/namespaces/{self.config.namespaces[0]}/serviceaccounts/default"
        self._wait("default service account", lambda: _exists(kube, account), 60)
        kube.close()
        mark("controllers", 80)
        self._write_state()
        return marks

    def _set_up_objects(self, kube: Kube) -> None:
        rbac.setup_node_agent(kube)
        rbac.setup_priorities(kube)
        rbac.setup_console(kube, self.config.system_namespace, self.config.namespaces)
        self.refresh_console_token(kube)

    def stop(self) -> None:
        """Stop in reverse order, so that nobody logs a lost server for long."""
        for name in reversed(list(self.processes)):
            # The API server waits up to 60 s for HTTP/1.1 watches that are still open; its
            # state is in etcd, so it may be killed.
            self.processes[name].stop(grace=3.0)
        self.processes.clear()
        if self._lock is not None:
            (self.data / "state.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def check(self) -> None:
        """Raise RuntimeError with its last log lines if a component has died."""
        for process in self.processes.values():
            if not process.alive:
                raise RuntimeError(f"{process.name} exited ({process.poll()}):\n{process.tail()}")

    # -- access ---------------------------------------------------------------
    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    def kubeconfig(self, name: str = "admin") -> Path:
        return self.data / f"{name}.kubeconfig"

    def kube(self, name: str = "admin") -> Kube:
        return Kube(Access.load(self.kubeconfig(name)))

    def refresh_console_token(self, kube: Kube) -> Path:
        """Write console.kubeconfig with a new token; tokens expire."""
        token = rbac.console_token(kube, self.config.system_namespace, self.config.token_seconds)
        path = self.kubeconfig("console")
        certs.write_kubeconfig(path, self.server, self.data / "pki" / "ca.crt", {"token": token})
        return path

    # -- internals ------------------------------------------------------------
    def _acquire(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self._lock = (self.data / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise AlreadyRunning(f"{self.data} is in use") from None

    def _choose_ports(self) -> None:
        """Given ports first, then those of the last run, then free ones."""
        path = self.data / "ports.json"
        last: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        for name in PORT_NAMES:
            given = self.config.ports.get(name)
            if given is not None:
                if not port_is_free(given):
                    raise RuntimeError(f"port {given} ({name}) is taken")
                self.ports[name] = given
            elif name in last and port_is_free(last[name]):
                self.ports[name] = last[name]
            else:
                self.ports[name] = free_port()
        path.write_text(json.dumps(self.ports))

    def _spawn(self, name: str, argv: list[str]) -> None:
        process = Process(name, argv, self.data / "logs" / f"{name}.log")
        process.start()
        self.processes[name] = process

    def _wait(self, what: str, check: Callable[[], bool], timeout: float) -> None:
        def checked() -> bool:
            self.check()
            return check()

        wait_until(what, checked, timeout)

    def _wait_ready(self, name: str, path: str, timeout: float) -> None:
        access = Access.load(self.kubeconfig())
        # kcm and scheduler serve a self-signed certificate of their own on loopback.
        verify = access.tls() if name == "apiserver" else False
        with httpx.Client(verify=verify, trust_env=False, timeout=2.0) as http:

            def ok() -> bool:
                try:
                    url = f"https://127.0.0.1:{self.ports[name]}{path}"
                    return http.get(url, headers=access.headers()).status_code == 200
                except httpx.HTTPError:
                    return False

            self._wait(f"{name} {path}", ok, timeout)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "server": self.server,
            "pids": {n: p.pid for n, p in self.processes.items()},
            "ports": self.ports,
            "config": {
                k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.config).items()
            },
        }
        certs.write_private(self.data / "state.json", json.dumps(state, indent=1))

    def _etcd_argv(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{self.ports[p]}" for p in ("etcd", "etcd_peer"))
        return [
            str(self.config.bin / "etcd"),
            "--name=sandbox",
            f"--data-dir={self.data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            "--force-new-cluster"
            if (self.data / "etcd").exists()
            else "--initial-cluster-state=new",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_argv(self) -> list[str]:
        pki = self.data / "pki"
        return [
            str(self.config.bin / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports['apiserver']}",
            "--endpoint-reconciler-type=none",  # EndpointSlices refuse loopback addresses
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            f"--default-not-ready-toleration-seconds={self.config.toleration_seconds}",
            f"--default-unreachable-toleration-seconds={self.config.toleration_seconds}",
        ]

    def _kcm_argv(self) -> list[str]:
        pki = self.data / "pki"
        return [
            str(self.config.bin / "kube-controller-manager"),
            *self._controller_flags("kcm"),
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            "--use-service-account-credentials=true",
            f"--node-monitor-grace-period={self.config.node_grace}s",
            f"--node-monitor-period={self.config.node_period}s",
        ]

    def _scheduler_argv(self) -> list[str]:
        return [str(self.config.bin / "kube-scheduler"), *self._controller_flags("scheduler")]

    def _controller_flags(self, name: str) -> list[str]:
        config = self.kubeconfig(name)
        return [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports[name]}",
            "--leader-elect=false",
        ]


def _exists(kube: Kube, path: str) -> bool:
    try:
        kube.get(path)
    except (ApiStatusError, httpx.HTTPError):
        return False
    return True
