"""Private PostgreSQL and Valkey for a test run.

Loaded by `-p tests.plugins.stores`, early enough to set the environment before the settings are
read. Each pytest process has its own servers, so runs beside each other never meet, and a
DATABASE_URL in the environment is never touched. POSTGRES_BIN chooses another PostgreSQL.
QM_TEST_DATA names the folder for the servers' files; the default is in memory where possible.
"""

import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.stores.launcher import launch, scratch_folder

SETTINGS = {
    "QM_SECRET_KEY": "a-key-for-tests-only-that-protects-nothing-at-all",
    "QM_ENVIRONMENT": "tests",
}
# Tells the workers of pytest-xdist that their controller started the servers.
SOCKETS = "QM_TEST_SOCKETS"
KEPT = (
    "QM_TEST_DATA", "QM_CONTROLLERS", "QM_SEARCH", "QM_FUZZ_EXAMPLES", "QM_YEARS", "QM_PICTURES",
)  # fmt: skip


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Start the servers before pytest-django reads the settings: wrappers run before its hook."""
    if SOCKETS not in os.environ:
        stack = ExitStack()
        early_config.add_cleanup(stack.close)
        start(stack)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # pytest-django gives each worker a database of its own; here is its share of Valkey.
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = os.environ["REDIS_URL"].replace("?db=0", f"?db={number}")
    return (yield)


def start(stack: ExitStack) -> None:
    for name in [name for name in os.environ if name.startswith(("QM_", "DATABASE_", "REDIS_"))]:
        if name not in KEPT:
            del os.environ[name]  # what the developer's shell says is not what tests use
    folder = Path(os.environ.get("QM_TEST_DATA") or stack.enter_context(scratch_folder()))
    running = stack.enter_context(launch(folder / "stores", throwaway=True, quiet=True))
    os.environ.update(SETTINGS | running.urls)
    os.environ |= {"QM_DATA": str(folder / "data"), SOCKETS: str(running.sockets)}
    stack.callback(os.environ.pop, SOCKETS, None)
