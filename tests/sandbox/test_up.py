"""`make up` as a person meets it: one installation, started, hurt, killed and started again.

KUBECONFIG names a cluster that does not answer, so no control plane is built here: the console
and all that needs no cluster must work all the same. tests/e2e has the whole.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sandbox.process import is_alive, wait_until
from sandbox.stores.launcher import scratch_folder
from sandbox.up.options import TREE

COLD_SECONDS, WARM_SECONDS = 90, 15
STATES = {"starting", "building", "ready", "failed"}


class Installation:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.port, self.gateway_port = free_port(), free_port()
        unreachable = data / "kubeconfig.yaml"
        unreachable.parent.mkdir(exist_ok=True)
        unreachable.write_text(kubeconfig(free_port()))
        own = ("QM_", "DATABASE_", "REDIS_", "DJANGO_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {
            "QM_DATA": str(data),
            "QM_PORT": str(self.port),
            "QM_GATEWAY_PORT": str(self.gateway_port),
            "QM_VENV": os.environ.get("VIRTUAL_ENV") or str(TREE / ".venv"),
            "QM_RESET": "yes",
            "KUBECONFIG": str(unreachable),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Return the seconds until the console answered."""
        began = time.monotonic()
        with (self.data / "terminal.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["make", "up"], cwd=TREE, env=self.environment, stdout=log, stderr=log
            )
        wait_until("the console", self.answers, COLD_SECONDS)
        return time.monotonic() - began

    def answers(self) -> bool:
        assert self.process and self.process.poll() is None, self.terminal()
        try:
            url = f"http://127.0.0.1:{self.port}/livez"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False
        except OSError:
            return False

    def make(self, target: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", target],
            cwd=TREE,
            env=self.environment | changes,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def state(self) -> dict:
        return json.loads((self.data / "up.json").read_text())

    def terminal(self) -> str:
        return (self.data / "terminal.log").read_text()[-4000:]

    def processes(self) -> dict[int, str]:
        """All that belong to this installation: they have its folder in their environment."""
        found = {}
        needle = f"QM_DATA={self.data}\0".encode()
        stores = str(self.data / "stores")
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                ours = needle in (entry / "environ").read_bytes() or stores in command
            except OSError:
                continue
            if ours and is_alive(int(entry.name)):
                found[int(entry.name)] = command
        return found

    def pid_of(self, words: str) -> int:
        return next((pid for pid, line in self.processes().items() if words in line), 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        installation = Installation(folder / "data")
        installation.cold_seconds = installation.start()
        yield installation
        installation.make("down")
        wait_until("the end of all", lambda: not installation.processes(), 20)


def test_it_answers_in_time_on_a_new_folder(up):
    assert up.cold_seconds < COLD_SECONDS


def test_it_tells_state_addresses_and_credentials_to_this_user_only(up):
    wait_until("the credentials", lambda: "api_keys" in up.state(), 60)
    state = up.state()
    assert state["state"] in STATES
    assert state["console_url"] == f"http://127.0.0.1:{up.port}"
    assert state["gateway_url"] == f"http://127.0.0.1:{up.gateway_port}"
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
    assert (up.data / "kubeconfig.yaml").exists()
