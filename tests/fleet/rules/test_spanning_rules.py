"""Engines over several pods: what is pinned, made, placed, counted and believed of them."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.by_hand import Hand, lines_back
from fleet.rules.causes import Patience, diagnose
from fleet.rules.differences import compare, cost_of
from fleet.rules.fit import Need, NodeRoom, fit, places
from fleet.rules.groups import line_of, pods_from, read_lines, read_role, sentence_of, shape_from
from fleet.rules.manifests import deployments_of, placed, render, workload
from fleet.rules.members import OF_SETS, POD_INDEX, groups_of, torn
from fleet.rules.observation import INCOMPLETE, read_pods
from fleet.rules.phases import Cause
from fleet.rules.pinning import Limits, refuse_release
from fleet.rules.rbac import manifest as rights
from fleet.rules.rbac import questions
from fleet.rules.release import Resources, Role, canonical, digest_of, spec_from
from fleet.rules.seen import read_side
from fleet.rules.verify import to_probe
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.rules.test_group_rules import NIXL
from tests.fleet.rules.walk import START, admitted, make_spec

LIMITS = Limits(max_model_len=4096, largest_node=8)
TWO = Resources("NVIDIA-L40S", 4, group_size=2)
EIGHT = ("--tensor-parallel-size=4", "--pipeline-parallel-size=2")


def make_wide(size=2, gpus=4, arguments=EIGHT, **changes):
    return make_spec(
        resources=Resources("NVIDIA-L40S", gpus, group_size=size), arguments=arguments, **changes
    )


def test_a_release_of_one_pod_keeps_the_digest_that_it_had():
    assert "group_size" not in json.dumps(canonical(make_spec()))
    assert digest_of(make_wide()) != digest_of(make_spec(resources=replace(TWO, group_size=1)))


def test_it_comes_back_from_what_is_stored():
    spec = make_wide()
    content = canonical(spec)
    assert content["resources"]["group_size"] == 2
    assert spec_from(**content) == spec
    assert pods_from(content["resources"], ()) == (4, 4) == spec.gpus_of_pods
    assert shape_from(content["resources"], ()) == {"serve": 1, "serve-w1": 1} == spec.shape
    assert (spec.gpus, spec.pods_by_product) == (8, {"NVIDIA-L40S": (4, 4)})


def test_one_role_may_span_pods_and_the_other_not():
    (prefill,) = read_lines(["prefill 1, 2 GPUs, groups of 2"])
    role = read_role(prefill)
    assert line_of(role) == "prefill 1, 2 GPUs, groups of 2"
    spec = make_spec(arguments=(NIXL,), roles=(role, Role("decode", 3)))
    assert spec.shape == {"prefill": 1, "prefill-w1": 1, "decode": 3}
    assert spec.gpus_of_pods == (2, 2, 1, 1, 1)
    assert sentence_of(spec.shape) == "1 prefill over 2 pods and 3 decode"
    assert sentence_of(make_wide(3).shape) == "3 pods that are one engine"


REFUSED = {
    "too few GPUs": (
        make_wide(arguments=("--tensor-parallel-size=16",)),
        "use tensor 16 x pipeline 1 x data 1 = 16 GPUs, the replica gets 2 pods x 4 = 8: 8 missing",
    ),
    "idle GPUs": (make_wide(3), "gets 3 pods x 4 = 12: 4 would stay idle"),
    "a pod that fits no node": (
        make_wide(2, 16, ("--tensor-parallel-size=32",)), "A pod of 16 NVIDIA-L40S fits on no node"
    ),
    "no pod": (make_wide(0), "group_size 0: between 1 and 16 pods"),
    "a name of no Service": (replace(make_wide(), service="3b-chat"), "begins with a digit"),
    "too many pods": (make_wide(17), "group_size 17: between 1 and 16 pods"),
    "pods beyond all memory": (make_wide(10**20), "between 1 and 16 pods"),
    "engines that compute apart": (
        make_wide(arguments=("--data-parallel-size=8",)), "data 8 over 2 pods"
    ),
    "one process": (
        make_wide(arguments=(*EIGHT, "--distributed-executor-backend=uni")), "must be mp"
    ),
    "its own rank": (make_wide(arguments=(*EIGHT, "--node-rank=1")), "the console sets who leads"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_a_group_that_cannot_be(case):
    spec, want = REFUSED[case]
    assert spec.products == ["NVIDIA-L40S"]
    assert any(want in sentence for _, sentence in refuse_release(spec, LIMITS))
    assert not list(refuse_release(make_wide(), LIMITS))


def test_what_changes_is_told():
    old = make_spec(resources=replace(TWO, gpus=8, group_size=1), arguments=EIGHT)
    (change,) = [c for c in compare(old, make_wide()) if c.name == "group_size"]
    assert (change.before, change.after) == ("1", "2")
    assert "nodes" in change.means
    assert not cost_of(old, make_wide())  # eight GPUs, as before


# -- manifests ----------------------------------------


def test_each_rank_is_a_stateful_set_and_its_pods_find_their_leader():
    made = render(make_wide(), "models", 4096)
    assert [m["kind"] for m in made] == [
        "PodDisruptionBudget", "NetworkPolicy", "Service", "StatefulSet", "StatefulSet",
    ]  # fmt: skip
    service, leader, worker = made[2:]
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["clusterIP"] == "None"
    pods = [one["spec"]["template"] for one in (leader, worker)]
    name = leader["metadata"]["name"]
    assert worker["metadata"]["name"] == f"{name}-w1"
    address = f"{name}-$(QUARTERMASTER_GROUP_INDEX).{service['metadata']['name']}"
    for rank, pod in enumerate(pods):
        (container,) = pod["spec"]["containers"]
        assert {"--nnodes=2", f"--node-rank={rank}", f"--master-addr={address}"} <= set(
            container["args"]
        )
        assert ("--headless" in container["args"]) == bool(rank)
        assert ("readinessProbe" in container) == (not rank)
        assert ("readinessGates" in pod["spec"]) == (not rank)
    leads, works = (p["spec"] for p in pods)
    stays = works["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert stays >= leads["terminationGracePeriodSeconds"]
    assert works["terminationGracePeriodSeconds"] > stays


def test_one_leader_worker_set_where_the_cluster_has_it():
    found = workload(render(make_wide(), "models", 4096, "v1"))
    (made,) = deployments_of(found)
    assert (made["apiVersion"], made["kind"]) == (
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet",
    )  # fmt: skip
    inside = placed(made, replicas=3, fence=7)["spec"]
    assert (inside["replicas"], inside["leaderWorkerTemplate"]["size"]) == (3, 2)
    worker = inside["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]
    assert "--node-rank=$(LWS_WORKER_INDEX)" in worker["args"]
    assert "--master-addr=$(LWS_LEADER_ADDRESS)" in worker["args"]
    plain = render(make_spec(), "models", 4096, "v1")
    assert plain == render(make_spec(), "models", 4096)


def test_names_leave_room_for_what_controllers_add():
    wide = render(make_wide(service="s" * 60), "models", 4096)
    assert all(
        len(m["metadata"]["name"]) <= 46 for m in wide if m["kind"] in ("StatefulSet", "Service")
    )


def test_the_way_back_by_hand_names_kinds():
    plain = workload(render(make_wide(), "models", 4096))
    sets = workload(render(make_wide(image="new"), "models", 4096, "v1"))
    lines = lines_back(Hand("RO-1", "chat", sets, plain, "r1", "r2", 1, 0, 1, {"": 8}, {"": 8},
                            {"": 16}, 3))  # fmt: skip
    text = "\n".join(lines)
    assert "wait statefulset/" in text
    assert "rollout status statefulset/" in text
    assert "delete leaderworkerset " in text


def test_rights_are_asked_for_only_where_they_mean_something():
    asked = {q.resource for q in questions("models")}
    assert {"statefulsets", "services"} <= asked
    assert "leaderworkersets" not in asked
    assert "leaderworkersets" in {q.resource for q in questions("models", sets=True)}
    assert "leaderworkersets" in rights("models")


# -- what the cluster says ------------------------------


class Scene:
    """Two groups of two pods, loaded and admitted."""

    def __init__(self):
        self.spec = make_wide()
        self.name = f"rel-{digest_of(self.spec)[:12]}"
        self.fake = FakeWorkloads(START, gpus=16)
        for item in deployments_of(workload(render(self.spec, "models", 4096))):
            self.fake.apply(placed(item, replicas=2, fence=1))
        for _ in range(4):
            self.fake.tick()
            for pod in list(self.fake.pods.values()):
                self.fake.set_condition("", pod["metadata"]["uid"], admitted())

    def pod(self, end):
        found = (p for p in self.fake.pods.values() if p["metadata"]["name"].endswith(end))
        return next(found)

    def side(self):
        return read_side(self.fake.look(""), self.name, self.spec.shape)


def test_whole_groups_are_counted():
    side = Scene().side()
    assert (side.wanted, side.loaded, side.serving, side.alive) == (2, 2, 2, 2)
    assert side.gpus(8) == 16
    assert not side.uneven
    assert {p.role for p in to_probe(side, again=True)} == {"serve"}


def test_a_group_without_one_of_its_pods_takes_no_traffic_and_says_which():
    scene = Scene()
    worker = scene.pod("-w1-1")
    worker["status"]["conditions"] = []
    worker["status"]["containerStatuses"] = [
        {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
         "lastState": {"terminated": {"exitCode": 1, "message": "RuntimeError: NCCL"}}},
    ]  # fmt: skip
    side = scene.side()
    assert (side.serving, side.loaded) == (1, 1)
    fault = diagnose(side, "r2", START, Patience(timedelta(seconds=9)))
    assert fault.cause is Cause.CRASH_LOOP
    assert worker["metadata"]["name"] in fault.why
    for pod in scene.fake.pods.values():
        pod["metadata"]["namespace"] = "models"
    seen = {p.name: p for p in read_pods(scene.fake.pods.values(), START)}
    leader = seen[scene.pod(f"{scene.name[4:12]}-1")["metadata"]["name"]]
    assert (leader.ready, leader.takes_traffic, leader.reason) == (False, False, INCOMPLETE)
    assert worker["metadata"]["name"] in leader.message
    taking = [p for p in seen.values() if p.takes_traffic]
    assert [p.role for p in taking] == ["serve"]
    holding = [p for p in seen.values() if p.ready and p.admitted]
    assert sum(p.role == "serve-w1" for p in holding) == 1  # of the group that serves


def test_a_worker_that_came_back_alone_is_of_no_use_to_its_leader():
    scene = Scene()
    leader, worker = scene.pod(f"{scene.name[4:12]}-0"), scene.pod("-w1-0")
    for condition in leader["status"]["conditions"]:
        condition["lastTransitionTime"] = "2026-11-20T12:00:00Z"
    running = {"running": {"startedAt": "2026-11-20T12:00:05Z"}}
    worker["status"]["containerStatuses"] = [{"restartCount": 1, "state": running}]
    side = scene.side()
    assert side.serving == 1
    (late,) = [p for own in groups_of(side.pods).values() for p in torn(own)]
    assert late.name == worker["metadata"]["name"]
    assert "must begin anew" in next(p.lacks for p in side.pods if p.lacks)


def test_pods_of_a_leader_worker_set_are_read_by_its_labels():
    scene = Scene()
    for pod in scene.fake.pods.values():
        labels = pod["metadata"]["labels"]
        rank = "1" if labels["quartermaster.dev/role"].endswith("w1") else "0"
        labels |= {f"{OF_SETS}/worker-index": rank,
                   f"{OF_SETS}/group-index": labels.pop(POD_INDEX),
                   "quartermaster.dev/role": "serve"}  # fmt: skip
    (made,) = deployments_of(workload(render(scene.spec, "models", 4096, "v1")))
    one = placed(made, replicas=2, fence=1)
    one["metadata"]["uid"] = "u1"
    look = scene.fake.look("") | {"deployments": [one]}
    side = read_side(look, scene.name, scene.spec.shape)
    assert (side.exists, side.wanted, side.serving) == (True, 2, 2)
    assert not side.uneven


# -- where groups find room ---------------------------------


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=6),
    st.integers(1, 8),
    st.integers(2, 4),
)
def test_groups_find_room_pod_by_pod(rooms, gpus, size):
    nodes = [NodeRoom(f"n{i}", "X", 8, 8 - room) for i, room in enumerate(rooms)]
    need = Need("X", gpus * size, 1, (gpus,) * size)
    single = sum(room // gpus for room in rooms)
    assert fit(nodes, need).places == single // size
    assert places({n.name: n.free for n in nodes}, replace(need, pods=(gpus,) * (size + 1))) <= (
        single // size
    )
