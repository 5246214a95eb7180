"""Stores, tables and a real control plane for benchmarks that need all three."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.cluster.inventory import GpuPool
from sandbox.cluster.machine import Sandbox, SandboxConfig
from sandbox.controlplane import build
from sandbox.stores.launcher import launch


@contextmanager
def stores_and_cluster(folder: Path, pool: GpuPool) -> Iterator[Sandbox]:
    """The environment names them from then on; django.setup is left to the caller."""
    with launch(folder / "stores", throwaway=True, quiet=True) as running:
        os.environ |= running.urls | {
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "QM_SECRET_KEY": "a-key-for-benchmarks-only-that-protects-nothing",
            "QM_DATA": str(folder / "data"),
            "QM_LOG_LEVEL": "WARNING",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True)
        with Sandbox(SandboxConfig(folder / "cluster", build.ensure(), (pool,))) as sandbox:
            yield sandbox
