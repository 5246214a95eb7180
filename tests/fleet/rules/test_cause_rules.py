"""Faults by name from what the API server says; what may still heal is not called a fault."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from fleet.rules.causes import Patience, diagnose, progress_of
from fleet.rules.disks import full_ones, named
from fleet.rules.manifests import EACH, FENCE
from fleet.rules.members import SIZE
from fleet.rules.phases import Cause
from fleet.rules.seen import Pod, Side, read_pod, read_side
from fleet.rules.verify import PASSES, TOKENS, Answers, Expected, judge
from tests.fleet.rules.walk import START

PATIENCE = Patience(timedelta(seconds=30))
POD = Pod(uid="u", name="chat-1", created_at=START, node="h100-1", address="10.0.0.1")
LOOP = {"waiting": "CrashLoopBackOff", "restarts": 2, "exit_code": 1, "exit_reason": "Error"}
NO_PLACE = "Unschedulable: 0/3 nodes are available"
NO_SPACE = "write /var/lib/containerd/x: no space left on device"
ON_NODES = f"{NO_PLACE}: 3 node(s) had untolerated taint(s). DiskPressure on h100-1, h100-2"

CASES = {
    "loads": ({}, 10, None, ""),
    "ended once": ({"restarts": 1, "exit_code": 1, "exit_reason": "Error"}, 10, None, ""),
    "crash loop": (LOOP, 10, Cause.CRASH_LOOP, "ended 2 times, last with exit code 1"),
    "its last words": (LOOP | {"exit_text": "a\nRuntimeError: no CUDA\n\n"}, 10,
                       Cause.CRASH_LOOP, "RuntimeError: no CUDA"),
    "ends too often": (LOOP | {"waiting": "", "restarts": 3}, 10, Cause.CRASH_LOOP, "3 times"),
    "out of memory": (LOOP | {"exit_reason": "OOMKilled"}, 10, Cause.OUT_OF_MEMORY, "OOMKilled"),
    "out of memory once": ({"exit_reason": "OOMKilled", "restarts": 1}, 10, None, ""),
    "no such image": ({"waiting": "ErrImagePull", "waiting_text": "x: not found"}, 1,
                      Cause.IMAGE_PULL, "cannot be pulled on h100-1"),
    "a registry hiccups": ({"waiting": "ErrImagePull", "waiting_text": "503"}, 10, None, ""),
    "a registry stays away": ({"waiting": "ImagePullBackOff", "waiting_text": "503"}, 61,
                              Cause.IMAGE_PULL, "503"),
    "a wrong name": ({"waiting": "InvalidImageName", "waiting_text": "bad name"}, 1,
                     Cause.IMAGE_PULL, "bad name"),
    "a wrong configuration": ({"waiting": "CreateContainerConfigError", "waiting_text": "root"}, 1,
                              Cause.INVALID, "root"),
    "waits for a place": ({"unschedulable": NO_PLACE}, 29, None, ""),
    "finds no place": ({"unschedulable": NO_PLACE}, 31, Cause.UNSCHEDULABLE, "0/3 nodes"),
    "gated": ({"unschedulable": "SchedulingGated: kueue"}, 31, Cause.UNSCHEDULABLE, "kueue"),
    "disks of all nodes are full": ({"unschedulable": ON_NODES}, 31, Cause.DISK_FULL,
                                    "DiskPressure on h100-1, h100-2"),
    "asks for more disk than there is": (
        {"unschedulable": "Unschedulable: 0/3: 3 Insufficient ephemeral-storage."}, 31,
        Cause.DISK_FULL, "3 Insufficient ephemeral-storage"),
    "a disk that may get free": ({"waiting": "ErrImagePull", "waiting_text": NO_SPACE}, 10,
                                 None, ""),
    "no disk for the image": ({"waiting": "ImagePullBackOff", "waiting_text": NO_SPACE}, 61,
                              Cause.DISK_FULL, "The disk of h100-1 is full"),
    "no disk for the container": (
        {"waiting": "CreateContainerError", "waiting_text": NO_SPACE}, 1,
        Cause.DISK_FULL, "The disk of h100-1 is full. chat-1 cannot be started"),
    "an engine without disk": (
        LOOP | {"exit_text": "OSError: [Errno 28] No space left on device"}, 10,
        Cause.DISK_FULL, "The disk of h100-1 is full. r2 crashes"),
    "goes away": (LOOP | {"terminating": True}, 10, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_names_the_cause(case):
    changes, seconds, want_cause, want_words = CASES[case]
    side = Side(exists=True, wanted=1, pods=(replace(POD, **changes),))
    found = diagnose(side, "r2", START + timedelta(seconds=seconds), PATIENCE)
    assert (found.cause if found else None) is want_cause
    assert want_words in (found.why if found else "")


@pytest.mark.parametrize(
    "waits",
    [{"unschedulable": NO_PLACE}, {"waiting": "ImagePullBackOff", "waiting_text": "503"}],
)
def test_a_cluster_whose_clock_lags_gives_no_replica_less_time(waits):
    """One that had just been made looked minutes old, and a good release went back."""
    side = Side(exists=True, wanted=1, pods=(replace(POD, **waits),))
    late = START + timedelta(minutes=5)
    assert diagnose(side, "r2", late, replace(PATIENCE, still=timedelta(seconds=5))) is None
    assert diagnose(side, "r2", late, replace(PATIENCE, still=timedelta(seconds=61))) is not None


def test_it_tells_a_full_quota_from_another_refusal():
    full = Side(exists=True, refused="exceeded quota: gpus")
    other = Side(exists=True, refused="no PriorityClass with name serving-stable was found")
    assert diagnose(full, "r2", START, PATIENCE).cause is Cause.QUOTA
    assert diagnose(other, "r2", START, PATIENCE).cause is Cause.INVALID


def test_it_says_what_replicas_are_doing():
    pods = (
        replace(POD, unschedulable=NO_PLACE),
        replace(POD, waiting="ContainerCreating"),
        POD,
        replace(POD, node=""),
    )
    told = progress_of(Side(pods=pods))
    assert all(w in told for w in ("0/3", "ContainerCreating", "loads on h100-1", "for a node"))
    assert progress_of(Side()) == "no pod yet"
    lost = replace(POD, loaded=True, admitted=True)
    assert progress_of(Side(pods=(lost,))) == f"{POD.name} is out of sight with its node h100-1"


RAW = {
    "metadata": {"uid": "u", "name": "n", "creationTimestamp": "2026-11-20T12:00:00Z",
                 "labels": {"quartermaster.dev/release": "rel-1"}},
    "spec": {"nodeName": "h100-1"},
    "status": {
        "phase": "Running", "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"},
                       {"type": "ContainersReady", "status": "True"},
                       {"type": "quartermaster.dev/admitted", "status": "True"}],
        "containerStatuses": [{"restartCount": 1, "imageID": "repo@sha256:d", "state": {},
                               "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}],
    },
}  # fmt: skip


def test_it_reads_a_pod_as_the_server_writes_it():
    pod = read_pod(RAW)
    assert pod.serves
    assert (pod.restarts, pod.exit_code, pod.image_id) == (1, 3, "repo@sha256:d")
    bare = read_pod({"metadata": RAW["metadata"], "spec": {}})
    assert (bare.loaded, bare.address, bare.restarts) == (False, "", 0)


def test_it_counts_a_failed_pod_as_gone():
    assert read_pod(RAW | {"status": {"phase": "Failed"}}).terminating


@pytest.mark.parametrize("word", ["mine", "0", ""])
def test_what_somebody_writes_into_our_notes_stops_no_look(word):
    """Each pass over every rollout of the service failed, an abort was not heard."""
    labels = RAW["metadata"]["labels"]
    pod = RAW | {"metadata": RAW["metadata"] | {"labels": labels | {SIZE: word}}}
    meta = {"name": "chat", "uid": "d", "labels": labels, "annotations": {FENCE: word, EACH: word}}
    look = {
        "deployments": [{"metadata": meta, "spec": {"replicas": 2}}],
        "replicasets": [], "pods": [pod],
    }  # fmt: skip
    side = read_side(look, "rel-1", {"serve": 1})
    assert (side.exists, side.wanted, side.fence, side.pods[0].size) == (True, 2, 0, 1)


def test_it_keeps_releases_apart():
    look = {"deployments": [], "replicasets": [], "pods": [RAW]}
    assert read_side(look, "rel-1").serving == 1
    assert read_side(look, "rel-2").gone


EXPECTED = Expected(
    "rel-1", "chat", 4096, "repo@sha256:d", config={"enable_prefix_caching": "True"}
)
GOOD = Answers(
    models=("chat",), max_model_len=4096, version="0.32.0", fingerprints=("rel-1",) * PASSES,
    tokens=(TOKENS,) * PASSES, reasons=("length",) * PASSES,
)  # fmt: skip
PROBES = {
    "as it should": ({}, (True, False), "3 of 3 answers carry rel-1, vLLM 0.32.0"),
    "another release": ({"fingerprints": ("rel-2",) * 3}, (False, True), "answers as rel-2"),
    "no fingerprint": ({"fingerprints": ("",) * 3}, (False, True), "answers as nobody"),
    "too few tokens": ({"tokens": (8, 1, 8)}, (False, True), "it gave 1"),
    "an early end": ({"reasons": ("length", "stop", "length")}, (False, True), "ended with stop"),
    "another model": ({"models": ("other",)}, (False, True), "serves other"),
    "a shorter context": ({"max_model_len": 512}, (False, True), "4,096 are promised"),
    "another cache": (
        {"config": {"enable_prefix_caching": "False"}}, (False, True),
        "runs with enable_prefix_caching False, its arguments say True"),
    "nothing told of its cache": ({"config": {}}, (True, False), "3 of 3"),
    "broken numbers": ({"corrupted": 2.0}, (False, True), "2 requests with corrupted logits"),
    "no broken numbers": ({"corrupted": 0.0}, (True, False), "3 of 3"),
    "silence": (
        {"fingerprints": (), "tokens": (), "reasons": (), "trouble": "no answer within 8 s"},
        (False, False), "no answer"),
    "one good answer, then silence": (
        {"fingerprints": ("rel-1",), "tokens": (8,), "reasons": ("length",)},
        (False, False), "1 of 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBES)
def test_it_judges_what_a_replica_says(case):
    changes, want, words = PROBES[case]
    found = judge(POD, replace(GOOD, **changes), EXPECTED)
    assert (found.ok, found.wrong) == want
    assert words in found.text


def test_it_notices_another_image():
    found = judge(replace(POD, image_id="repo@sha256:e"), GOOD, EXPECTED)
    assert found.wrong
    # A digest of the image's configuration cannot be compared.
    assert judge(replace(POD, image_id="sha256:e"), GOOD, EXPECTED).ok


LOW = "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi. "
LIMIT = 'Container vllm exceeded its local ephemeral storage limit "1Gi". '


def off(number, why, seconds=5):
    """A pod that a kubelet took away; only its object is there."""
    ended = START + timedelta(seconds=seconds)
    return replace(POD, uid=f"e{number}", name=f"chat-e{number}", terminating=True,
                   ended_at=ended, evicted=why)  # fmt: skip


@pytest.mark.parametrize(
    ("evicted", "cause"),
    [
        ([LOW], None),
        ([LOW, LOW], Cause.DISK_FULL),
        ([LIMIT, LIMIT], Cause.DISK_FULL),
        (["The node was low on resource: memory. "] * 2, Cause.EVICTED),
    ],
)
def test_pods_that_kubelets_take_away_are_a_fault_the_second_time(evicted, cause):
    pods = (POD, *(off(n, why, n) for n, why in enumerate(evicted, 1)))
    side = Side(exists=True, wanted=1, pods=pods)
    found = diagnose(side, "r2", START + timedelta(seconds=20), PATIENCE)
    assert (found.cause if found else None) is cause
    if found:
        assert f"last chat-e2 from h100-1: {evicted[-1].strip()}" in found.why
    assert "chat-e1 was evicted from h100-1" in progress_of(side)


def test_evictions_of_a_while_ago_or_made_up_for_are_no_fault():
    pods = (POD, off(1, LOW), off(2, LOW))
    late = START + timedelta(minutes=16)
    assert diagnose(Side(exists=True, wanted=1, pods=pods), "r2", late, PATIENCE) is None
    loaded = Side(exists=True, wanted=1, pods=(replace(POD, loaded=True), *pods[1:]))
    assert diagnose(loaded, "r2", START + timedelta(seconds=20), PATIENCE) is None


def test_what_a_kubelet_took_away_holds_no_gpu_and_does_not_drain():
    side = Side(exists=True, wanted=1, pods=(replace(POD, gpus=1), off(1, LOW)))
    assert (side.terminating, side.gpus(1), side.gone) == (0, 1, False)


def test_an_evicted_pod_is_read_as_kubelets_write_it():
    made = {
        "metadata": {"uid": "u", "name": "chat-1", "creationTimestamp": "2026-11-20T12:00:00Z"},
        "spec": {"nodeName": "h100-1"},
        "status": {"phase": "Failed", "reason": "Evicted", "message": LOW},
    }
    pod = read_pod(made)
    assert (pod.evicted, pod.terminating) == (LOW, True)
    assert pod.ended_at == pod.created_at


def test_nodes_with_full_disks_are_named_where_the_scheduler_only_counts_them():
    full = [make_full("h100-2"), make_full("l40s-1", product="L40S"), make_full("h100-1")]
    names = full_ones(full, {"H100"})
    waiting = replace(POD, unschedulable="0/3: 3 node(s) had untolerated taint(s).")
    (pod,) = named(Side(pods=(waiting,)), names).pods
    assert pod.unschedulable.endswith("DiskPressure on h100-1, h100-2")
    assert full_ones(full, {""}) == ("h100-1", "h100-2", "l40s-1")
    assert named(Side(pods=(POD,)), names).pods == (POD,)


def make_full(name, product="H100"):
    return SimpleNamespace(name=name, gpu_product=product, trouble="DiskPressure: it is full")
