"""Pods that bring an image to nodes: where, with what, and what came of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.disks import PRESSURE
from fleet.rules.fit import NodeRoom
from fleet.rules.manifests import SERVICE, render, workload
from fleet.rules.phases import Cause, Phase
from fleet.rules.pods import LONGEST
from fleet.rules.prefetch import (
    AT_ONCE,
    MOST,
    NO_OP,
    NODE,
    Fetched,
    Fetching,
    Prefetch,
    chosen,
    name_on,
    pod_on,
    read,
    troubled_nodes,
    weights_of,
)
from fleet.rules.preparing import fetching
from fleet.rules.release import ModelPin, ReleaseSpec, Resources
from fleet.rules.seen import Part
from fleet.rules.state import Seen
from fleet.rules.weights import Trouble
from tests.fleet.rules.walk import START, make_state

SPEC = ReleaseSpec(
    service="chat",
    model=ModelPin("registry.local/weights", "sha256:" + "1" * 64),
    image="registry.local/vllm",
    image_digest="sha256:" + "2" * 64,
    resources=Resources(gpu_product="H100", gpus=2),
)
RELEASE = workload(render(SPEC, "models", 4096))
OWNER = Part("chat-1", "d1", 0)


def test_it_goes_where_a_pod_of_the_release_finds_its_gpus():
    rooms = [
        NodeRoom("full", "H100", 4, 3),
        NodeRoom("leaving", "H100", 4, 4, leaving=2),
        NodeRoom("free", "H100", 8, 0),
        NodeRoom("other", "L40S", 8, 0),
        NodeRoom("cordoned", "H100", 8, 0, usable=False),
    ]
    assert list(chosen(rooms, RELEASE, 1)) == ["free", "leaving"]


@pytest.mark.parametrize(("replicas", "nodes"), [(1, AT_ONCE), (2, 4), (3, 6), (100, MOST)])
def test_a_small_service_takes_few_nodes_of_a_large_cluster(replicas, nodes):
    many = [NodeRoom(f"n{n}", "H100", 8, 0) for n in range(MOST + 5)]
    assert len(chosen(many, RELEASE, replicas)) == nodes


@pytest.mark.parametrize(("broken", "nodes"), [(1, 5), (4, 8), (MOST, MOST)])
def test_nodes_that_fail_by_themselves_have_others_in_their_place(broken, nodes):
    many = [NodeRoom(f"n{n:02}", "H100", 8, 0) for n in range(MOST + 5)]
    bad = [f"n{n:02}" for n in range(broken)]
    found = chosen(many, RELEASE, 1, bad)
    assert len(found) == nodes
    assert len(found.keys() - set(bad)) == min(AT_ONCE, MOST - broken)
    assert set(bad) <= found.keys()  # still looked at: a disk may be cleared


def test_what_the_registry_refuses_is_no_nodes_fault():
    troubles = {
        "disk": Fetched("disk", "p", "1", pulls=True, trouble="no space left on device"),
        "place": Fetched("place", "p", "2", trouble="0/3 nodes are available"),
        "registry": Fetched("registry", "p", "3", pulls=True, trouble="ErrImagePull: refused"),
        "hub": Fetched("hub", "p", "4", pulls=True, trouble="503", weights=Trouble.HUB),
        "fine": Fetched("fine", "p", "5", done=True),
    }
    assert troubled_nodes(troubles.values()) == {"disk", "place"}


def test_a_node_that_alone_is_refused_by_the_registry_has_another_in_its_place():
    """Its mirror may be away, or its credential: the other nodes have the image."""
    refused = Fetched("h100-2", "p", "3", pulls=True, trouble="ErrImagePull: refused")
    assert troubled_nodes([THERE, refused]) == {"h100-2"}


def test_a_group_of_several_pods_takes_more():
    grouped = replace(SPEC, resources=Resources(gpu_product="H100", gpus=8, group_size=3))
    many = [NodeRoom(f"n{n:02}", "H100", 8, 0) for n in range(MOST)]
    for sets in ("", "v1"):
        assert len(chosen(many, workload(render(grouped, "models", 4096, sets)), 2)) == 12


def test_it_pulls_image_and_weights_and_holds_nothing():
    (spec,) = chosen([NodeRoom("free", "H100", 8, 0)], RELEASE, 1).values()
    pod = pod_on("free", spec, RELEASE, OWNER, 900)
    meta, (container,) = pod["metadata"], pod["spec"]["containers"]
    assert SERVICE not in meta["labels"]
    assert meta["annotations"][NODE] == "free"
    assert meta["ownerReferences"][0] | {"name": "", "uid": ""} == {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "", "uid": "",
    }  # fmt: skip
    assert container["image"] == f"{SPEC.image}@{SPEC.image_digest}"
    assert container["command"] == NO_OP
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["image"]["reference"] == f"registry.local/weights@sha256:{'1' * 64}"
    assert [m["name"] for m in container["volumeMounts"]] == [volume["name"]]
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "H100"}


def test_its_name_is_short_enough_and_the_same_for_a_node():
    names = {name_on(node, "s" * LONGEST) for node in ("a.example", "a.example", "b.example")}
    assert len(names) == 2
    assert all(len(name) <= LONGEST for name in names)


def waits(reason, message=""):
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


def ended(reason):
    return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": reason}}}]}


NO_PLACE = {"type": "PodScheduled", "status": "False", "message": "1 had untolerated taint(s)."}
CASES = {
    "new": ({}, False, False, ""),
    "pulls": (waits("ContainerCreating"), False, False, ""),
    "ended well": ({"phase": "Succeeded"}, True, False, ""),
    "ended badly": (ended("Error"), True, False, ""),
    "has no such program": (ended("StartError"), True, False, ""),
    "may not run as it is": (waits("CreateContainerConfigError", "root"), True, False, ""),
    "cannot be pulled": (waits("ErrImagePull", "x: not found"), False, True, "x: not found"),
    "without disk for it": (waits("CreateContainerError", "no space left on device"), False, True,
                            "no space left"),
    "took too long": ({"phase": "Failed", "reason": "DeadlineExceeded"}, False, True, "Deadline"),
    "without a place": ({"conditions": [NO_PLACE]}, False, False, f"{PRESSURE} on h100-1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_reads_what_came_of_a_pod(case):
    status, done, pulls, words = CASES[case]
    meta = {"name": "p", "uid": "u", "annotations": {NODE: "h100-1"}}
    (found,) = read([{"metadata": meta, "spec": {}, "status": status}], ["h100-1", "h100-2"])
    assert (found.done, found.pulls) == (done, pulls)
    assert words in found.trouble
    assert bool(found.trouble) == bool(words)


def test_its_turn_in_a_queue_is_what_it_waits_for():
    blocked = NO_PLACE | {"message": "Scheduling is blocked due to non-empty scheduling gates"}
    pod = {
        "metadata": {"name": "p", "uid": "u", "annotations": {NODE: "h100-1"}},
        "spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
        "status": {"conditions": [blocked]},
    }
    (found,) = read([pod])
    assert (found.trouble, found.queue, found.comes, found.state) == (
        "waits for its turn in the queue default of Kueue", "default", True, Fetching.WAITING,
    )  # fmt: skip


THERE = Fetched("h100-1", "p", "u", done=True, image=True)
QUEUED = Fetched("h100-2", "q", "v", queue="default", trouble="waits for its turn")
NOWHERE = Fetched("h100-2", "q", "v", trouble="1 had untolerated taint(s).")


def test_only_a_node_without_a_place_for_it_gets_another_in_its_place():
    assert troubled_nodes([THERE, QUEUED]) == frozenset()
    assert troubled_nodes([THERE, NOWHERE]) == {"h100-2"}


def prepared(*found, cache="", after=5):
    """What follows when these are there, so many seconds after the nodes began to be prepared."""
    state = make_state(phase=Phase.PREPARING, phase_since=START, prefetch=timedelta(seconds=60))
    fetch = Prefetch(("h100-1", "h100-2"), found, cache=cache)
    return fetching(state, Seen(), START + timedelta(seconds=after), fetch)


@pytest.mark.parametrize("cache", ["", "/srv/weights"])
def test_a_turn_is_waited_for_and_a_place_is_not(cache):
    waits = prepared(THERE, QUEUED, cache=cache)
    assert waits.phase is Phase.PREPARING
    assert "What brings it on h100-2 waits for its turn" in waits.why
    assert prepared(THERE, NOWHERE, cache=cache).phase is Phase.CANARY_STARTING


def test_without_its_turn_in_time_engines_start_unless_they_lack_weights():
    assert prepared(QUEUED, after=61).phase is Phase.CANARY_STARTING
    late = prepared(THERE, QUEUED, cache="/srv/weights", after=61)
    assert (late.phase, late.cause) == (Phase.ABORTING, Cause.WEIGHTS)


def test_a_node_that_the_registry_refuses_holds_weights_up_no_longer_than_it_may():
    """Where its image does not come no engine starts, and the other nodes have all that they need.
    Before that the registry may give in, and an engine would find no weights there.
    """
    refused = Fetched("h100-2", "q", "v", pulls=True, trouble="ErrImagePull: 503")
    assert prepared(THERE, refused, cache="/srv/weights").phase is Phase.PREPARING
    late = prepared(THERE, refused, cache="/srv/weights", after=61)
    assert late.phase is Phase.CANARY_STARTING
    assert "its weights are on 1. It cannot be pulled on h100-2: ErrImagePull: 503" in late.why
    both = prepared(replace(refused, node="h100-1"), refused, cache="/srv/weights", after=61)
    assert (both.phase, both.cause) == (Phase.ABORTING, Cause.IMAGE_PULL)


MODELS = {
    "image volume": (
        ModelPin("registry.local/weights", "sha256:" + "1" * 64),
        True,
        "image volume",
    ),
    "in the image": (ModelPin("/models/tiny", "sha256:" + "1" * 64), True, "inside the image"),
    "of a hub": (ModelPin("acme/tiny", "a" * 40), False, "mounts no cache for it"),
}


@pytest.mark.parametrize("case", MODELS)
def test_weights_come_with_it_or_it_is_said_why_not(case):
    model, want_come, want_words = MODELS[case]
    come, words = weights_of(model)
    assert (come, want_words in words, model.name in words) == (want_come, True, True)
