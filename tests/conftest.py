"""What every test has: the database of `plugins/database.py`, and an order that fails early."""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.plugins.database import django_db_setup

__all__ = ["django_db_setup"]

# How long an example takes says something of the machine, nothing of the rule. The examples are the
# same in each run, so that it says something of the change; QM_SEARCH=1 looks for others.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("QM_SEARCH") != "1",
)
settings.load_profile("any machine")

# A Kubernetes of a test lives for minutes: with memory to spare it computes a seventh less.
os.environ.setdefault("GOGC", "300")

# What needs more comes later: the browser, a cluster, a real engine, the whole product.
LATER = ("browser", "cluster", "engine", "e2e")
SHARED = "PYTEST_XDIST_WORKER" in os.environ
# Files that take minutes begin before short ones, in this order, so that no worker is left with
# them at the end.
LONG = (
    "test_year",
    "test_crash",
    "test_routes",
    "test_independent",
    "test_rollouts_real",
    "test_two_clusters",
    "test_model_real",
    "test_plans_real",
    "test_rollouts_",
    "test_drills_real",
    "test_prefetch_real",
    "test_weights_real",
    "test_drift_real",
    "test_contract",
    "test_first_run",
    "test_walk",
    "test_usage_by_day",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (turn(item), place(item)) if SHARED else place(item))


class ByFile(LoadFileScheduling):
    """Gives each worker a file at a time; of the walk through the product, what one engine does."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return f"{file} with vLLM" if "test_walk.py" in file and "[vllm" in nodeid else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def place(item: pytest.Item) -> int:
    return max([0, *(LATER.index(m) + 1 for m in LATER if has(item, m))])


def turn(item: pytest.Item) -> int:
    name = item.path.name
    return next((i for i, start in enumerate(LONG) if name.startswith(start)), len(LONG))


def has(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None
