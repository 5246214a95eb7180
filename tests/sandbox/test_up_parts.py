"""The parts of `make up`: options, folder, progress, children."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from sandbox.process import is_alive, wait_until
from sandbox.up import control
from sandbox.up.children import Child, Guard, Kept
from sandbox.up.folder import CONTENTS, LOCK, holder, keep_secrets, locked, read_json, write_json
from sandbox.up.options import UpError, check_ports, read_options
from sandbox.up.status import DONE, FAILED, SKIPPED, Stage, Status


@pytest.mark.parametrize(
    ("environ", "want"),
    [
        ({"QM_PORT": "eighty"}, "QM_PORT is 'eighty': give a port number"),
        ({"QM_GATEWAY_PORT": "70000"}, "QM_GATEWAY_PORT is '70000': give a port number"),
        ({"QM_ENGINE": "gpu"}, "QM_ENGINE is 'gpu': say auto, vllm or standin"),
        ({"QM_TRAFFIC": "maybe"}, "QM_TRAFFIC is 'maybe': say on or off"),
        ({"QM_HISTORY": "61"}, "QM_HISTORY is '61': give a number of days from 0 to 60"),
        ({"QM_REPLICAS": "0"}, "QM_REPLICAS is '0': say 2 or 1"),
        ({"QM_CLUSTERS": "3"}, "QM_CLUSTERS is '3': say 1 or 2"),
        ({"QM_CLUSTERS": "two"}, "QM_CLUSTERS is 'two': say 1 or 2"),
        (
            {"QM_CLUSTERS": "2", "KUBECONFIG": __file__},
            "QM_CLUSTERS=2 starts clusters on this machine, and KUBECONFIG names an existing one",
        ),
        ({"KUBECONFIG": "/nowhere/config"}, "KUBECONFIG names /nowhere/config"),
    ],
)
def test_it_refuses_a_wrong_choice_and_names_the_variable(environ, want):
    with pytest.raises(UpError, match=want):
        read_options(environ)


def test_it_has_the_documented_defaults(tmp_path):
    options = read_options({"QM_DATA": str(tmp_path)})
    assert (options.port, options.gateway_port) == (8000, 8080)
    assert (options.engine, options.traffic, options.kubeconfig) == ("auto", True, None)
    assert options.clusters == 1


def test_it_names_the_port_that_is_taken_and_the_variable_that_changes_it(tmp_path):
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free.bind(("127.0.0.1", 0))
        taken, unused = other.getsockname()[1], free.getsockname()[1]
        free.close()
        environ = {"QM_DATA": str(tmp_path), "QM_PORT": str(unused)}
        options = read_options(environ | {"QM_GATEWAY_PORT": str(taken)})
        with pytest.raises(UpError, match=f"Port {taken} on 127.0.0.1.*QM_GATEWAY_PORT="):
            check_ports(options)
    with pytest.raises(UpError, match="choose two ports"):
        check_ports(read_options(environ | {"QM_GATEWAY_PORT": str(unused)}))


def test_it_lets_one_hold_the_folder_and_tells_the_next_where_the_console_is(tmp_path):
    write_json(tmp_path / "up.json", {"console_url": "http://127.0.0.1:8000"})
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(UpError, match=f"process {os.getpid()}: the console is at http://127"):
            locked(tmp_path).__enter__()
    assert holder(tmp_path) is None


def test_it_keeps_secrets_over_starts_and_for_this_user_only(tmp_path):
    first = keep_secrets(tmp_path)
    assert keep_secrets(tmp_path) == first
    assert len(first["QM_SECRET_KEY"]) >= 50
    assert first["QM_SECRET_KEY"] != first["QM_SALT_SECRET"]
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_it_writes_whole_documents_over_whatever_a_killed_writer_left(tmp_path):
    (tmp_path / ".up.json.new").write_text('{"half')
    write_json(tmp_path / "up.json", {"state": "ready"})
    assert read_json(tmp_path / "up.json") == {"state": "ready"}
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600


def progress(*states: str) -> Status:
    stages = [Stage(f"s{n}", f"Stage {n}", 10, state=state) for n, state in enumerate(states)]
    for stage in stages:
        stage.percent = 100 if stage.state in (DONE, SKIPPED) else 0
    return Status(stages)


@pytest.mark.parametrize(
    ("states", "answers", "want"),
    [
        (("running", "waiting"), False, ("starting", 0)),
        (("done", "running"), True, ("building", 50)),
        (("done", "skipped"), True, ("ready", 100)),
        (("done", "failed"), True, ("failed", 50)),
        (("failed", "running"), True, ("failed", 0)),
    ],
)
def test_it_tells_the_state_from_the_stages(states, answers, want):
    status = progress(*states)
    status.answers = answers
    assert (status.state, status.percent) == want


def test_it_says_why_with_the_name_of_the_stage_that_failed():
    status = progress("done", "running")
    status.stages[1].end(FAILED, 12.0, "no Go toolchain")
    status.notes["engine"] = "All services run on the stand-in engine."
    document = status.document(13.0)
    assert document["why"] == "Stage 1: no Go toolchain All services run on the stand-in engine."
    assert document["stage"] == "Stage 1"
    assert document["stages"][1]["text"] == "no Go toolchain"


def test_it_measures_a_stage_until_its_end():
    stage = Stage("build", "Build", 300)
    stage.begin(100.0)
    assert stage.elapsed(105.0) == 5.0
    stage.end(DONE, 110.0)
    assert stage.elapsed(500.0) == 10.0


@pytest.fixture
def guard(tmp_path):
    guard = Guard(tmp_path / "guard.log")
    yield guard
    guard.close()


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}


def test_it_keeps_the_latest_values_of_the_json_lines_and_ignores_the_rest(tmp_path, guard):
    code = 'print("noise"); print(\'{"percent": 10, "bin": "/x"}\'); print(\'{"percent": 90}\')'
    child = Child("build", script(code), env=environment(), logs=tmp_path, guard=guard)
    child.start()
    wait_until("end", lambda: not child.process.alive, 10)
    assert child.listen() == {"percent": 90, "bin": "/x"}


def test_it_takes_the_error_that_was_said_before_the_last_line(tmp_path, guard):
    code = 'print(\'{"error": "the disk is full"}\'); print("traceback noise")'
    child = Child("build", script(code), env=environment(), logs=tmp_path, guard=guard)
    child.start()
    wait_until("end", lambda: not child.process.alive, 10)
    assert child.last_words() == "the disk is full"


def test_it_starts_a_child_again_after_a_pause(tmp_path, guard):
    kept = Kept("web", script("pass"), env=environment(), logs=tmp_path, guard=guard)
    kept.start()
    first = kept.process.pid
    wait_until("the end", lambda: not kept.process.alive, 10)
    assert "web ended with status 0 and starts again in 1 s" in (kept.tend() or "")
    assert kept.tend() is None
    assert kept.process.pid == first
    wait_until("the restart", lambda: kept.tend() is None and kept.restarts == 1, 10)
    assert kept.process.pid != first
    wait_until("the end", lambda: not kept.process.alive, 10)
    assert "in 2 s" in (kept.tend() or "")
    kept.stop(1)


def test_it_ends_what_a_killed_supervisor_left_even_grandchildren_that_ignore_signals(tmp_path):
    grandchild = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from sandbox.up.children import Child, Guard\n"
        "logs = Path(sys.argv[1]); guard = Guard(logs / 'guard.log')\n"
        f"child = Child('c', [sys.executable, '-c', {child!r}], env=dict(os.environ), "
        "logs=logs, guard=guard)\n"
        "child.start(); print(child.process.pid, flush=True); time.sleep(300)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        group = int(supervisor.stdout.readline())
        wait_until("the grandchild", lambda: len(members(group)) == 2, 10)
        family = members(group)
        supervisor.send_signal(signal.SIGKILL)
    wait_until("the end of all", lambda: not any(map(is_alive, family)), 15)


def members(group: int) -> set[int]:
    listing = subprocess.run(
        ["ps", "-eo", "pid=,pgid="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listing.stdout.splitlines()]
    return {int(pid) for pid, pgid in rows if int(pgid) == group}


def test_it_deletes_its_own_files_and_no_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QM_RESET", "yes")
    for name in CONTENTS:
        path = tmp_path / name
        path.write_text("{}") if "." in name else (path / "deep").mkdir(parents=True)
    (tmp_path / "letters.txt").write_text("mine")
    assert control.reset(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_it_changes_nothing_without_a_yes(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("QM_RESET", raising=False)
    (tmp_path / LOCK).touch()
    monkeypatch.setattr("builtins.input", lambda _prompt: "y")
    assert control.reset(tmp_path) == 1
    assert (tmp_path / LOCK).exists()


def test_it_leaves_a_folder_alone_that_is_no_installation(tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    assert control.reset(tmp_path) == 0
    assert (tmp_path / "logs").exists()


def test_it_stops_the_one_that_holds_the_folder(tmp_path, capsys):
    code = (
        "import sys, time; from pathlib import Path; from sandbox.up.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        other.stdout.readline()
        started = time.monotonic()
        assert control.down(tmp_path) == 0
        assert other.wait(5) == -signal.SIGTERM
    assert time.monotonic() - started < 10
    assert control.down(tmp_path) == 0
    assert "Nothing runs" in capsys.readouterr().out


def test_it_switches_the_traffic(tmp_path, capsys):
    control.switch_traffic(tmp_path, on=False)
    assert (tmp_path / "traffic.off").exists()
    control.switch_traffic(tmp_path, on=True)
    assert not (tmp_path / "traffic.off").exists()
    assert json.loads(json.dumps(capsys.readouterr().out.splitlines()))[0].endswith("silent.")
