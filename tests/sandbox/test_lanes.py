"""The order of start, with children that only pretend: what fails, what goes on without it."""

from pathlib import Path

import pytest

from sandbox.up import lanes
from sandbox.up.lanes import StageFailed, cluster_lane, console_lane, run
from sandbox.up.options import Options
from sandbox.up.status import DONE, FAILED, RUNNING, SKIPPED, Status
from sandbox.up.supervisor import stages

SERVES = {"state": "ready", "url": "http://127.0.0.1:5601"}
BUILT = {"bin": "/cache/bin"}
READY = {"state": "ready", "admin_kubeconfig": "/admin", "kubeconfig": "/console", "images": "/i"}


class FakeChild:
    """Says what it was told to say on the first look and is gone on the second."""

    restarts = 0

    def __init__(self, said: dict, looks: int = 1) -> None:
        self.said, self.looks, self.process = said, looks, self

    def start(self) -> None:
        pass

    @property
    def alive(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def poll(self) -> int:
        return 1 if self.said.get("error") else 0

    def listen(self) -> dict:
        return self.said

    def last_words(self) -> str:
        return self.said.get("error", "")


class FakeUp:
    registry_port = 5601

    def __init__(self, answers: dict[str, dict], **changes) -> None:
        given = {"port": 8000, "gateway_port": 8080, "engine": "auto", "kubeconfig": None}
        given |= {"traffic": True, "data": Path("/data")} | changes
        self.options = Options(**given)
        self.status = Status(stages(self.options))
        self.said_by, self.started, self.lines = answers, [], []
        self.commands: dict[str, list[str]] = {}

    def begin(self, name):
        self.status.stage(name).begin(1.0)
        return self.status.stage(name)

    def end(self, name, state=DONE, text=None):
        self.status.stage(name).end(state, 2.0, text)

    def child(self, name, argv, extra):
        self.started.append(name)
        self.commands[name] = argv
        return FakeChild(self.said_by.get(name, {}))

    def keep(self, name, argv, extra=None):
        self.started.append(name)
        self.commands[name] = argv
        return FakeChild(self.said_by.get(name, {}))

    def say(self, text):
        self.lines.append(text)

    def answers(self, path):
        return True

    def publish_facts(self):
        return {"ingest_token": "qms_x"}

    def state(self, name):
        return self.status.stage(name).state


def finish(lane) -> None:
    for _ in lane:
        pass


def test_it_opens_the_console_before_the_demo_is_made():
    up = FakeUp({"registry": SERVES})
    finish(console_lane(up))
    assert up.started == [
        *("registry", "migrate", "web", "prepare", "worker", "beat", "observer", "gateway"),
    ]
    assert up.state("console") == DONE
    assert up.status.facts["registry_url"] == "http://127.0.0.1:5601"


def test_it_starts_nothing_on_tables_that_could_not_be_made():
    up = FakeUp({"registry": SERVES, "migrate": {"error": "permission denied"}})
    with pytest.raises(StageFailed, match="permission denied"):
        finish(console_lane(up))
    assert up.started == ["registry", "migrate"]


def test_it_says_why_the_registry_does_not_start():
    up = FakeUp({"registry": {"error": "Address already in use"}})
    lane = console_lane(up)
    next(lane)
    FakeChild.restarts = 3
    try:
        with pytest.raises(StageFailed, match="already in use") as failure:
            next(lane)
    finally:
        FakeChild.restarts = 0
    assert failure.value.stage == "registry"


def test_it_brings_up_a_cluster_with_a_real_engine_and_traffic():
    up = FakeUp({"build": BUILT, "engine": {"text": "5 GB"}, "cluster": READY})
    finish(cluster_lane(up))
    assert up.started == ["build", "engine", "engine", "cluster", "deploy", "traffic"]
    assert up.commands["deploy"][-2:] == ["--engine", "vllm"]
    assert up.status.facts["kubeconfig"] == "/admin"
    assert up.lines == ["  5 GB. QM_ENGINE=standin does without."]
    assert up.status.notes == {}


def test_it_goes_on_with_the_stand_in_and_says_so_where_a_real_engine_is_not_possible():
    up = FakeUp({"build": BUILT, "engine": {"error": "no AVX2"}, "cluster": READY})
    finish(cluster_lane(up))
    assert up.state("engine") == SKIPPED
    assert up.commands["deploy"][-2:] == ["--engine", "standin"]
    assert "vLLM is not possible here: no AVX2" in (up.status.why or "")


def test_it_calls_it_a_failure_when_the_real_engine_was_asked_for_by_name():
    up = FakeUp({"build": BUILT, "engine": {"error": "no AVX2"}, "cluster": READY}, engine="vllm")
    finish(cluster_lane(up))
    assert up.state("engine") == FAILED
    assert up.state("traffic") == DONE


def test_it_installs_nothing_when_the_stand_in_was_asked_for():
    up = FakeUp({"build": BUILT, "cluster": READY}, engine="standin", traffic=False)
    finish(cluster_lane(up))
    assert up.started == ["build", "cluster", "deploy"]
    assert up.state("traffic") == SKIPPED


def test_it_says_why_when_the_build_is_impossible_and_starts_no_cluster():
    up = FakeUp({"build": {"error": "No Go: install Go 1.26"}})
    with pytest.raises(StageFailed, match="install Go") as failure:
        finish(cluster_lane(up))
    assert failure.value.stage == "build"
    assert up.started == ["build"]


def test_it_starts_a_second_cluster_when_the_first_one_serves():
    second = READY | {"admin_kubeconfig": "/admin-2", "nodes": ["h100-1"]}
    said = {"build": BUILT, "cluster": READY, "cluster-2": second}
    up = FakeUp(said, engine="standin", clusters=2)
    finish(cluster_lane(up))
    assert up.started == ["build", "cluster", "deploy", "traffic", "cluster-2", "deploy-2"]
    assert up.commands["cluster-2"][-4:-2] == ["--region", "local-2"]
    assert "/data/cluster-2" in up.commands["cluster-2"]
    assert up.commands["deploy-2"][-1] == "--second"
    assert up.status.facts["kubeconfig"] == "/admin"
    assert up.status.facts["kubeconfigs"] == ["/admin", "/admin-2"]
    assert up.status.stage("cluster-2").text == "1 GPU nodes"


def test_a_second_cluster_that_fails_is_named_and_the_first_one_serves():
    said = {"build": BUILT, "cluster": READY, "cluster-2": READY, "deploy-2": {"error": "no room"}}
    up = FakeUp(said, engine="standin", clusters=2)
    with pytest.raises(StageFailed, match="no room") as failure:
        finish(cluster_lane(up))
    assert failure.value.stage == "deploy-2"
    assert up.state("traffic") == DONE


def test_it_only_registers_a_cluster_that_was_given():
    up = FakeUp({}, kubeconfig=Path("/mine"))
    finish(cluster_lane(up))
    assert up.started == ["deploy"]
    assert up.commands["deploy"][-1] == "--register-only"
    assert up.status.facts["kubeconfig"] == "/mine"
    assert up.status.facts["kubeconfigs"] == ["/mine"]


def test_it_shows_the_progress_that_a_child_tells_and_never_runs_backwards():
    up = FakeUp({"build": {"percent": 40, "text": "compiled 400 of 1000 packages"}})
    lane = run(up, "build", ["x"])
    next(lane)
    stage = up.status.stage("build")
    assert (stage.state, stage.percent, stage.text) == (
        RUNNING,
        40.0,
        "compiled 400 of 1000 packages",
    )
    lanes.follow(stage, {"percent": 10})
    assert stage.percent == 40.0
