"""`make up` as a person meets it: one installation, started, hurt, killed and started again.

KUBECONFIG names a cluster that does not answer, so no control plane is built here: the console
and all that needs no cluster must work all the same. tests/e2e has the whole.
"""

import json
import os
import signal
import stat

import pytest

from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.stores.launcher import scratch_folder
from tests.fixtures.installation import COLD_SECONDS, Installation

WARM_SECONDS = 15
pytestmark = pytest.mark.alone
STATES = {"starting", "building", "ready", "failed"}


def kubeconfig(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {"token": "nobody"}}],
        }
    )


@pytest.fixture(scope="module")
def up():
    with scratch_folder() as folder:
        unreachable = folder / "kubeconfig.yaml"
        unreachable.write_text(kubeconfig(free_port()))
        installation = Installation(folder / "data", KUBECONFIG=str(unreachable))
        installation.cold_seconds = installation.start()
        yield installation
        installation.stop()


def test_it_answers_in_time_on_a_new_folder(up):
    assert up.cold_seconds < COLD_SECONDS


def test_it_tells_state_addresses_and_credentials_to_this_user_only(up):
    wait_until("the credentials", lambda: "api_keys" in up.state(), 60)
    state = up.state()
    assert state["state"] in STATES
    assert state["console_url"] == f"http://127.0.0.1:{up.port}"
    assert state["gateway_url"] == f"http://127.0.0.1:{up.gateway_port}"
    assert state["registry_url"].startswith("http://127.0.0.1:")
    assert {"stage", "percent", "why", "kubeconfig"} <= state.keys()
    for who in ("operator", "approver"):
        assert state[who].keys() == {"email", "password"}
    assert state["finance_token"].startswith("qmt_")
    assert set(state["api_keys"]) == {"acme", "globex", "initech"}
    assert stat.S_IMODE((up.data / "up.json").stat().st_mode) == 0o600


def test_it_says_which_stage_failed_and_goes_on_without_a_cluster(up):
    wait_until("the verdict on the cluster", lambda: up.state()["state"] == "failed", 120)
    assert "Demo services" in up.state()["why"]
    assert up.answers()


def test_it_keeps_the_state_fresh(up):
    first = up.state()["at"]
    wait_until("the next state", lambda: up.state()["at"] > first, 4)


def test_it_refuses_a_second_one_on_the_same_folder(up):
    second = up.make("up", QM_PORT=str(free_port()), QM_GATEWAY_PORT=str(free_port()))
    assert second.returncode != 0
    assert f"runs already on {up.data}" in second.stderr
    assert f"http://127.0.0.1:{up.port}" in second.stderr


def test_it_names_the_port_that_another_program_has(up, tmp_path):
    second = up.make("up", QM_DATA=str(tmp_path / "other"))
    assert second.returncode != 0
    assert f"Port {up.port} on 127.0.0.1 is not free" in second.stderr
    assert "QM_PORT=" in second.stderr


@pytest.mark.parametrize("words", ["uvicorn console.asgi", "bin/postgres", "valkey-server"])
def test_it_starts_a_killed_process_again(up, words):
    wait_until(words, lambda: up.pid_of(words) > 0, 30)
    before = up.pid_of(words)
    os.kill(before, signal.SIGKILL)
    wait_until("the next one", lambda: up.pid_of(words) not in (0, before), 30)
    wait_until("the console", up.answers, 30)


def test_it_leaves_nothing_behind_when_it_is_killed(up):
    make = up.process
    supervisor = up.state()["pid"]
    assert len(up.processes()) > 5
    os.kill(supervisor, signal.SIGKILL)
    wait_until("the end of all", lambda: not up.processes(), 30)
    assert make.wait(10) != 0


def test_it_goes_on_with_the_data_and_is_quick_the_second_time(up):
    credentials = up.state()["api_keys"]
    assert up.start() < WARM_SECONDS
    wait_until("the credentials", lambda: up.state().get("api_keys") == credentials, 30)


def test_it_stops_when_make_is_killed(up):
    wait_until("all processes", lambda: up.pid_of("-A console beat") > 0, 60)
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    wait_until("the end of all", lambda: not up.processes(), 60)
    assert up.state()["pid"] is None


def test_it_stops_in_order_on_an_interrupt(up):
    up.start()
    wait_until("all processes", lambda: up.pid_of("-A console beat") > 0, 60)
    os.kill(up.state()["pid"], signal.SIGINT)
    assert up.process.wait(60) == 0, up.terminal()
    assert up.processes() == {}
    assert "Stopped. Everything is kept" in up.terminal()


def test_it_forgets_all_when_asked_to(up):
    done = up.make("reset")
    assert done.returncode == 0, done.stderr
    assert not (up.data / "stores").exists()
    assert (up.data / "terminal.log").exists()
