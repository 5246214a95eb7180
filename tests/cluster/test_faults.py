"""Hangs, kills, lost nodes, slow pulls, a killed node agent, a restarted control plane."""

import os
import signal

import pytest

from sandbox import faults
from sandbox.process import is_alive
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import (
    NAMESPACE,
    PODS,
    apply,
    ask,
    complete,
    condition,
    deployment,
    engine_status,
    image,
    is_ready,
    messages,
    pods,
    set_image,
    start_stream,
    until,
    waiting_reason,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(150, func_only=True)]


def on(node, found):
    return next(p for p in found if p["spec"]["nodeName"] == node)


def test_it_keeps_a_hanging_engine_ready_and_restarts_a_frozen_process(
    releases: RunningCluster, rel2
):
    name, ip = rel2[0]["metadata"]["name"], rel2[0]["status"]["podIP"]
    faults.turn_knobs(ip, {"hang": True})
    with pytest.raises(TimeoutError):
        complete(ip, timeout=1.5)
    look = lambda: releases.console.get(f"{PODS}/{name}")  # noqa: E731
    assert ask(ip, "/health")[0] == 200
    assert is_ready(look())
    releases.fault(op="freeze", pod=f"{NAMESPACE}/{name}")
    until("not ready", lambda: not is_ready(look()))
    until("restart by liveness", lambda: engine_status(look())["restartCount"] == 1, 90)
    assert any("failed liveness" in m for m in messages(releases.console, "Killing"))
    releases.ready("rel2", 2)


def test_it_tells_an_injected_kill_as_out_of_memory(releases: RunningCluster, rel2):
    name = rel2[1]["metadata"]["name"]
    before = engine_status(rel2[1])["restartCount"]
    releases.fault(op="oom", pod=f"{NAMESPACE}/{name}")

    def restarted():
        status = engine_status(releases.console.get(f"{PODS}/{name}"))
        return status if status["restartCount"] > before else None

    last = until("restart", restarted)["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    releases.ready("rel2", 2)


def test_it_loses_a_node_and_heals_it_without_a_restart(releases: RunningCluster, rel1):
    pod = on("h100-2", rel1)
    name, ip = pod["metadata"]["name"], pod["status"]["podIP"]
    look = lambda: releases.admin.get(f"{PODS}/{name}")  # noqa: E731
    releases.fault(op="node_down", node="h100-2")
    until("pod unready", lambda: condition(look(), "Ready").get("status") == "False")

    def tainted():
        node = releases.console.get("/api/v1/nodes/h100-2")
        keys = [t["key"] for t in node["spec"].get("taints") or []]
        unknown = condition(node, "Ready")["status"] == "Unknown"
        return unknown and "node.kubernetes.io/unreachable" in keys

    until("taint", tainted, 20)
    assert complete(ip)[0] == 200  # a partition, not a power cut
    releases.fault(op="node_up", node="h100-2")
    until("pod ready again", lambda: is_ready(look()))
    assert engine_status(look())["restartCount"] == engine_status(pod)["restartCount"]


def test_it_cuts_the_power_of_a_node(releases: RunningCluster, rel1):
    pod = on("h100-2", rel1)
    name, ip = pod["metadata"]["name"], pod["status"]["podIP"]
    look = lambda: releases.admin.get(f"{PODS}/{name}")  # noqa: E731
    releases.fault(op="node_down", node="h100-2", power_off=True)
    until("pod unready", lambda: condition(look(), "Ready").get("status") == "False")
    with pytest.raises(OSError, match="refused"):
        complete(ip)
    releases.fault(op="node_up", node="h100-2")
    until("pod ready again", lambda: is_ready(look()))
    assert engine_status(look())["lastState"]["terminated"]["exitCode"] == 255


def test_it_denies_a_digest_that_was_pullable(cluster: RunningCluster):
    digest = image("standin-0.31").partition("@")[2]
    cluster.fault(op="deny", image=digest)
    apply(cluster.console, deployment("denied", reference=image("standin-0.31"), gpus=0))

    def backs_off():
        return [p for p in pods(cluster.console, "denied") if "ImagePull" in waiting_reason(p)]

    until("ImagePullBackOff", backs_off)
    cluster.fault(op="allow", image=digest)
    cluster.ready("denied", 1)
    cluster.remove("denied")


def test_it_pulls_slowly_when_told(cluster: RunningCluster):
    cluster.fault(op="slow_pull", seconds=3)
    try:
        apply(cluster.console, deployment("slowly", gpus=0))
        until("pulling", lambda: any("Pulling" in m for m in messages(cluster.console, "Pulling")))
        found = until("pod", lambda: pods(cluster.console, "slowly"))
        assert waiting_reason(found[0]) in ("", "ContainerCreating")
        cluster.ready("slowly", 1)
    finally:
        cluster.fault(op="slow_pull", seconds=0)
        cluster.remove("slowly")


def test_it_finds_fault_targets_by_label_and_by_name(releases: RunningCluster, rel1):
    data = releases.sandbox.cluster.data
    assert len(faults.find_pods(data, "release=rel1")) == 2
    name = rel1[0]["metadata"]["name"]
    assert list(faults.find_pods(data, name)) == [f"{NAMESPACE}/{name}"]
    with pytest.raises(faults.NoTarget, match="rel1"):
        faults.find_pods(data, "release=none")


def test_it_turns_knobs_from_the_command_line(
    releases: RunningCluster, rel2, monkeypatch: pytest.MonkeyPatch, capsys
):
    name, ip = rel2[0]["metadata"]["name"], rel2[0]["status"]["podIP"]
    command = ["faults", "--data", str(releases.sandbox.cluster.data), "knobs", name]

    def run(*changes: str) -> int:
        monkeypatch.setattr("sys.argv", [*command, *changes])
        return faults.main()

    assert run("error_rate=1", "fingerprint=other") == 0
    assert '"error_rate": 1' in capsys.readouterr().out
    assert complete(ip)[0] == 500
    assert run("error_rate=0", "fingerprint=null") == 0
    assert complete(ip)[1]["system_fingerprint"] == "rel2"
    assert run("warp=9") == 1
    assert "unknown knob warp" in capsys.readouterr().err


def test_it_refuses_a_fault_that_names_nothing(cluster: RunningCluster):
    with pytest.raises(RuntimeError, match="no node moon"):
        cluster.fault(op="node_down", node="moon")
    with pytest.raises(RuntimeError, match="unknown op"):
        cluster.fault(op="explode")


def test_it_adopts_pods_after_the_node_agent_was_killed(releases: RunningCluster, rel1):
    def pids():
        state = releases.fault(op="state")["pods"]
        return {k: [c["pid"] for c in v["containers"].values()] for k, v in state.items()}

    before = pids()
    pod, victim = rel1
    stream = start_stream(pod["status"]["podIP"], tokens=200)
    agent = releases.sandbox.agent
    assert agent is not None
    os.kill(agent.pid, signal.SIGKILL)
    until("death of the agent", lambda: not agent.alive)
    assert complete(pod["status"]["podIP"], 1)[0] == 200
    gone = f"{NAMESPACE}/{victim['metadata']['name']}"
    path = f"{PODS}/{victim['metadata']['name']}"
    releases.admin.delete(path, {"gracePeriodSeconds": 0})  # force delete in its absence
    releases.sandbox.check()  # starts it again
    until("sweep", lambda: gone not in pids())
    until("end of the victim's process", lambda: not is_alive(before[gone][0]))
    after = pids()
    assert {k: v for k, v in before.items() if k != gone}.items() <= after.items()
    stream.join(30)
    assert (stream.reason, stream.done) == ("length", True)
    releases.ready("rel1", 2)
    now = releases.console.get(f"{PODS}/{pod['metadata']['name']}")
    flapped = condition(now, "Ready")["lastTransitionTime"]
    assert flapped == condition(pod, "Ready")["lastTransitionTime"]


def test_it_keeps_pods_and_state_when_the_control_plane_restarts(releases: RunningCluster, rel1):
    pod = rel1[0]
    releases.sandbox.cluster.stop()
    assert complete(pod["status"]["podIP"], 1)[0] == 200
    releases.sandbox.cluster.start()
    releases.connect()
    set_image(releases.console, "rel2", image("standin-0.32.1"))
    releases.ready("rel2", 2, image=image("standin-0.32.1"))
    same = releases.console.get(f"{PODS}/{pod['metadata']['name']}")
    assert is_ready(same)
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]
