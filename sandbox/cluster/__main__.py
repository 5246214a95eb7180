"""Run a one-machine Kubernetes with GPU nodes until SIGTERM: python -m sandbox.cluster --data DIR

Prints JSON lines {"stage": "cluster", "step", "percent", "elapsed"}; the one with "state": "ready"
has "server", "kubeconfig" (the console's least-privilege ServiceAccount), "admin_kubeconfig" and
"images" (the image table). Builds the control plane first when no --bin is given.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from sandbox.cluster.control import AlreadyRunning
from sandbox.cluster.inventory import DEFAULT_POOLS, REGION, GpuPool
from sandbox.cluster.machine import Sandbox, SandboxConfig
from sandbox.controlplane import build

TOKEN_CHECK = 3600.0  # seconds between two looks at the console's token


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="kept between starts")
    p.add_argument("--bin", type=Path, help="folder with the binaries; default: built and cached")
    p.add_argument("--namespace", action="append", help="that the console manages; models")
    shape = p.add_argument_group("GPU nodes; default: 2 x 4 H100 and 2 x 4 L40S")
    shape.add_argument("--pool", type=GpuPool.parse, action="append", metavar="NODESxGPUSxPRODUCT")
    shape.add_argument("--nodes", type=int, help="H100 nodes only, this many")
    shape.add_argument("--gpus", type=int, default=4, help="per node, with --nodes")
    shape.add_argument("--region", default=REGION, help="in the labels of the nodes")
    p.add_argument("--backoff", type=float, default=10.0, help="seconds, of crashes and pulls")
    p.add_argument("--backoff-max", type=float, default=300.0)
    return p.parse_args()


def chosen_pools(args: argparse.Namespace) -> tuple[GpuPool, ...]:
    if args.pool:
        return tuple(args.pool)
    if args.nodes:
        return (GpuPool(args.nodes, args.gpus, "NVIDIA-H100-80GB-HBM3"),)
    return DEFAULT_POOLS


class Reporter:
    """JSON lines on standard output."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def step(self, step: str, percent: float) -> None:
        self.line(step=step, percent=percent)

    def line(self, **fields: object) -> None:
        elapsed = round(time.monotonic() - self._began, 1)
        print(json.dumps({"stage": "cluster", **fields, "elapsed": elapsed}), flush=True)


class Stopping(BaseException):
    """A signal came before the cluster was ready. No Exception: nothing on the way may catch it."""


class Signals:
    """SIGTERM and SIGINT: end a start at once, or the service at its next look."""

    def __init__(self) -> None:
        self.received = self._serving = False
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._on_signal)

    def serving(self) -> None:
        self._serving = True

    def _on_signal(self, number: int, frame: object) -> None:
        first, self.received = not self.received, True
        if first and not self._serving:
            raise Stopping


def serve(sandbox: Sandbox, report: Reporter, signals: Signals) -> None:
    """Until a signal comes; keeps the console's token fresh."""
    signals.serving()
    cluster = sandbox.cluster
    report.line(
        state="ready",
        percent=100,
        server=cluster.server,
        kubeconfig=str(cluster.kubeconfig("console")),
        admin_kubeconfig=str(cluster.kubeconfig("admin")),
        images=str(sandbox.image_table),
        nodes=[name for pool in sandbox.config.pools for name in pool.node_names()],
    )
    renewed = time.monotonic()
    while not signals.received:
        time.sleep(0.5)
        sandbox.check()
        if time.monotonic() - renewed > TOKEN_CHECK:
            cluster.refresh_console_token(cluster.kube())
            renewed = time.monotonic()


def run(args: argparse.Namespace, report: Reporter, signals: Signals) -> None:
    config = SandboxConfig(
        args.data,
        args.bin or build.ensure(build.JsonLines()),
        pools=chosen_pools(args),
        region=args.region,
        namespaces=args.namespace or ["models"],
        backoff=args.backoff,
        backoff_max=args.backoff_max,
    )
    sandbox = Sandbox(config)
    try:
        sandbox.start(report.step)
        serve(sandbox, report, signals)
    finally:
        sandbox.stop()


def main() -> int:
    args, report, signals = parse_args(), Reporter(), Signals()
    try:
        run(args, report, signals)
    except Stopping:
        pass  # it was asked for
    except (build.BuildFailed, AlreadyRunning, RuntimeError, TimeoutError) as exc:
        report.line(state="failed", error=str(exc))
        return 1
    report.line(state="stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
