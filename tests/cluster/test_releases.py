"""Scheduling, rollouts that fail, and the ways in which a pod ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.cluster.kube import Json
from sandbox.engines.images import UNKNOWN_REFERENCE
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import (
    PODS,
    STRATEGIC,
    apply,
    ask,
    complete,
    condition,
    deployment,
    engine_status,
    image,
    is_closed,
    is_ready,
    messages,
    pods,
    set_image,
    start_stream,
    until,
    waiting_reason,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120, func_only=True)]


@contextmanager
def running(cluster: RunningCluster, body: Json) -> Iterator[str]:
    """A deployment for the time of a test."""
    name = body["metadata"]["name"]
    apply(cluster.console, body)
    try:
        yield name
    finally:
        cluster.remove(name)


def first(cluster: RunningCluster, name: str) -> Json | None:
    return next(iter(pods(cluster.console, name)), None)


def test_it_places_two_releases_on_all_gpus(cluster: RunningCluster, rel1, rel2):
    assert {p["spec"]["nodeName"] for p in rel1 + rel2} == {"h100-1", "h100-2"}
    assert len(messages(cluster.console, "Scheduled")) >= 4
    status = engine_status(rel1[0])
    assert status["imageID"] == image("standin-0.32")
    assert status["containerID"].startswith("sandbox://")


def test_it_answers_at_pod_addresses_with_the_fingerprint_of_the_release(rel1, rel2):
    for name, found in (("rel1", rel1), ("rel2", rel2)):
        for pod in found:
            code, answer = complete(pod["status"]["podIP"])
            assert (code, answer["system_fingerprint"]) == (200, name)


def test_it_leaves_a_pod_without_room_to_the_scheduler(releases: RunningCluster):
    with running(releases, deployment("big")) as name:

        def refused() -> Json | None:
            found = first(releases, name)
            verdict = condition(found, "PodScheduled") if found else {}
            return verdict if verdict.get("reason") == "Unschedulable" else None

        why = until("verdict of the scheduler", refused)
        assert "Insufficient nvidia.com/gpu" in why["message"]


def test_it_restarts_a_crashing_engine_with_back_off_and_shows_its_log(releases: RunningCluster):
    set_image(releases.console, "rel2", image("faulty-crash"))

    def looping() -> Json | None:
        for pod in pods(releases.console, "rel2"):
            looks = waiting_reason(pod) == "CrashLoopBackOff"
            if looks and engine_status(pod)["restartCount"] >= 2:
                return pod
        return None

    ended = engine_status(until("CrashLoopBackOff", looping))["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("Error", 1)
    assert "CUDA error" in ended["message"]
    still = [p for p in pods(releases.console, "rel2") if is_ready(p)]
    assert len(still) == 1
    assert complete(still[0]["status"]["podIP"])[0] == 200
    set_image(releases.console, "rel2", image("standin-0.32"))
    releases.ready("rel2", 2, image=image("standin-0.32"))


@pytest.mark.parametrize(
    "reference", [UNKNOWN_REFERENCE, "registry.local/none:1", "registry.local/vllm-standin:latest"]
)
def test_it_cannot_pull_what_the_image_table_does_not_have(cluster: RunningCluster, reference: str):
    with running(cluster, deployment("unpullable", reference=reference, gpus=0)) as name:
        until(
            "ImagePullBackOff",
            lambda: (p := first(cluster, name)) and waiting_reason(p) == "ImagePullBackOff",
        )
        events = messages(cluster.console, "Failed")
        assert any(f'Failed to pull image "{reference}"' in m for m in events)


def test_it_refuses_a_manifest_that_brings_its_own_command(cluster: RunningCluster):
    changes = {"command": ["/bin/sh", "-c", "true"]}
    with running(cluster, deployment("own-command", gpus=0, changes=changes)) as name:
        pod = until(
            "refusal",
            lambda: (
                (p := first(cluster, name))
                and waiting_reason(p) == "CreateContainerConfigError"
                and p
            ),
        )
        assert "own command" in engine_status(pod)["state"]["waiting"]["message"]


def test_it_kills_an_engine_that_never_gets_ready(cluster: RunningCluster):
    body = deployment(
        "never", reference=image("faulty-never-ready"), gpus=0, startup_failures=3, grace=2
    )
    with running(cluster, body) as name:
        until(
            "restart by the startup probe",
            lambda: (p := first(cluster, name)) and engine_status(p).get("restartCount", 0) >= 1,
        )
        assert any("failed startup probe" in m for m in messages(cluster.console, "Killing"))


def test_it_tells_that_an_image_ran_out_of_memory(cluster: RunningCluster):
    with running(cluster, deployment("oom", reference=image("faulty-oom"), gpus=0)) as name:
        ended = until(
            "OOMKilled",
            lambda: (
                (p := first(cluster, name))
                and engine_status(p).get("lastState", {}).get("terminated")
            ),
        )
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_it_drains_a_deleted_pod(releases: RunningCluster, rel1):
    """Delete a pod in the middle of a 4 s stream: preStop 1 s, drain, exit."""
    name, ip = rel1[0]["metadata"]["name"], rel1[0]["status"]["podIP"]
    stream = start_stream(ip, tokens=200)
    releases.console.delete(f"{PODS}/{name}")
    assert complete(ip, 1)[0] == 200  # during preStop the engine still takes requests
    refused = until("drain", lambda: (a := complete(ip, 1))[0] == 500 and a[1])
    assert refused["error"]["message"] == "cannot schedule new futures after shutdown"
    assert ask(ip, "/health")[0] == 200
    # The fleet is full: the replacement has to wait until the draining pod gives its GPUs back.
    heirs = [p for p in pods(releases.console, "rel1") if "deletionTimestamp" not in p["metadata"]]
    assert [condition(p, "PodScheduled").get("reason") for p in heirs].count("Unschedulable") == 1
    stream.join(30)
    assert (stream.reason, stream.done, stream.error) == ("length", True, "")
    gone = lambda: name not in [p["metadata"]["name"] for p in pods(releases.console, "rel1")]  # noqa: E731
    until("end of the object", gone)
    releases.ready("rel1", 2)


def test_it_aborts_at_once_without_a_shutdown_timeout(releases: RunningCluster, rel2):
    pod = rel2[0]
    ip = pod["status"]["podIP"]
    ask(ip, "/admin/config", {"itl_ms": 50}, port=9900, method="PUT")
    stream = start_stream(ip, tokens=2000)
    releases.console.delete(f"{PODS}/{pod['metadata']['name']}")
    stream.join(30)
    assert (stream.status, stream.reason, stream.done) == (200, "abort", True)
    releases.ready("rel2", 2)


def test_it_cuts_a_drain_that_exceeds_the_grace_period(cluster: RunningCluster):
    """The drain deadline passes: vLLM leaves the clients hanging until SIGKILL."""
    args = ("--itl-ms=50", "--shutdown-timeout=2")
    with running(cluster, deployment("slow", gpus=0, args=args, grace=5)) as name:
        ip = cluster.ready(name, 1)[0]["status"]["podIP"]
        stream = start_stream(ip, tokens=2000)
        began = time.monotonic()
        cluster.console.delete(f"{PODS}/{pods(cluster.console, name)[0]['metadata']['name']}")
        until("closed port", lambda: is_closed(ip))
        stream.join(30)
        assert 4 < stream.finished - began < 8
        assert stream.reason is None
        assert not stream.done


def test_it_holds_a_pod_back_until_its_readiness_gate_opens(cluster: RunningCluster):
    kind = "quartermaster.dev/admitted"
    with running(cluster, deployment("gated", gpus=0, gates=(kind,))) as name:

        def containers_ready() -> Json | None:
            found = first(cluster, name)
            ready = found and condition(found, "ContainersReady").get("status") == "True"
            return found if ready else None

        pod = until("containers ready", containers_ready)
        before = condition(pod, "Ready")
        assert (before["status"], before["reason"]) == ("False", "ReadinessGatesNotReady")
        patch = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        cluster.console.patch(f"{PODS}/{pod['metadata']['name']}/status", patch, STRATEGIC)
        cluster.ready(name, 1)
