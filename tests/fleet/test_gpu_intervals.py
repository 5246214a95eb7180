"""GPU time: each unit does one thing at a time, and all of them add up to GPUs x observed time."""

from datetime import timedelta
from fractions import Fraction

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from fleet.drive.observation import Observer
from fleet.models import GpuInterval, GpuTime, GpuUnit
from fleet.queries.inventory import gpu_hours, observed_hours
from fleet.rules.gpu_parts import devices_of, fraction_of
from fleet.rules.gpu_time import doings, since
from fleet.rules.node_capacity import capacity_of, pool_of
from fleet.rules.observation import read_nodes, read_pods
from tests.fleet.fake_cluster import NOW, FakeCluster, make_node, make_pod
from tests.fleet.makers import make_cluster, make_deployment, make_release, make_service

LATER = NOW + timedelta(seconds=3)
H100 = "NVIDIA-H100-80GB-HBM3"


# --- rules, pure -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "capacity"),
    [
        ({}, "on_demand"),
        ({"karpenter.sh/capacity-type": "spot"}, "spot"),
        ({"karpenter.sh/capacity-type": "on-demand"}, "on_demand"),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, "spot"),
        ({"eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}, "reserved"),
        ({"cloud.google.com/gke-spot": "true"}, "spot"),
        ({"cloud.google.com/gke-spot": "false"}, "on_demand"),
        ({"cloud.google.com/reservation-name": "h100-2026"}, "reserved"),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, "spot"),
        ({"quartermaster.dev/capacity": "owned"}, "owned"),
        (
            {"quartermaster.dev/capacity": "reserved", "karpenter.sh/capacity-type": "spot"},
            "reserved",
        ),
        ({"quartermaster.dev/capacity": "cheap"}, "on_demand"),
    ],
)
def test_a_node_tells_how_it_is_paid_by_its_labels(labels, capacity):
    assert capacity_of(labels) == capacity


def test_a_node_tells_its_pool_and_ours_comes_first():
    assert pool_of({}) == ""
    assert pool_of({"cloud.google.com/gke-nodepool": "a"}) == "a"
    assert pool_of({"quartermaster.dev/node-pool": "b", "karpenter.sh/nodepool": "a"}) == "b"


@pytest.mark.parametrize(
    ("profile", "product", "fraction"),
    [
        ("", H100, Fraction(1)),
        ("1g.10gb", H100, Fraction(1, 7)),
        ("3g.40gb", H100, Fraction(3, 7)),
        ("1c.3g.40gb", H100, Fraction(1, 7)),
        ("7g.80gb", H100, Fraction(1)),
        ("2g.12gb", "NVIDIA-A30", Fraction(1, 2)),
        ("1/4", H100, Fraction(1, 4)),
    ],
)
def test_a_part_of_a_gpu_is_a_fraction_of_it(profile, product, fraction):
    assert fraction_of(profile, product) == fraction


def devices(allocatable, used=None, **labels):
    named = {f"nvidia.com/{name}": value for name, value in labels.items()}
    return devices_of({"nvidia.com/gpu.product": H100} | named, allocatable, 0, used or {})


def test_what_a_layout_leaves_of_a_card_is_not_forgotten():
    slices = {"nvidia.com/gpu": "0", "nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-1g.10gb": 0}
    found = devices(slices, **{"gpu.count": "1"})
    assert [(d.profile, d.allocatable, d.fraction) for d in found] == [
        ("3g.40gb", 2, Fraction(3, 7)),
        ("rest", 1, Fraction(1, 7)),
    ]
    assert sum(d.allocatable * d.fraction for d in found) == 1


def test_shared_gpus_and_slices_that_are_all_alike_are_fractions():
    (shared,) = devices({"nvidia.com/gpu": "8"}, **{"gpu.replicas": "4", "gpu.count": "2"})
    assert (shared.profile, shared.allocatable, shared.fraction) == ("1/4", 8, Fraction(1, 4))
    (single,) = devices({"nvidia.com/gpu": "7"}, **{"gpu.product": f"{H100}-MIG-1g.10gb"})
    assert (single.profile, single.fraction) == ("1g.10gb", Fraction(1, 7))


looks = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans()), max_size=4),
    min_size=1,
    max_size=5,
)


@given(looks=looks)
def test_every_gpu_does_one_thing_and_a_pod_keeps_its_slots(looks):
    held = {}
    for pods in looks:
        unique = {name: (gpus, ready) for name, gpus, ready in pods}
        seen = [make_pod(f"p{n}", gpus=g, admitted=r) for n, (g, r) in unique.items()]
        nodes = read_nodes([make_node()], seen)
        found = doings(nodes, read_pods(seen, NOW), held)
        assert sorted(slot for _, _, slot in found) == [0, 1, 2, 3]
        before = {u for u, h in held.items() if h}
        stay = [u for u in before if found[u].holder == held[u]]
        moved = {found[u].holder for u in found} & {held[u] for u in before} - {""}
        for holder in moved:
            had = [u for u in before if held[u] == holder]
            has = [u for u in found if found[u].holder == holder]
            assert len([u for u in stay if held[u] == holder]) == min(len(had), len(has))
        held = {unit: doing.holder for unit, doing in found.items()}


def test_gaps_between_looks_are_left_out():
    ago = NOW - timedelta(seconds=3)
    assert since(None, None, NOW).at == NOW
    assert since(NOW - timedelta(minutes=5), NOW - timedelta(minutes=5), NOW).at == NOW
    assert (since(ago, ago, NOW).at, since(ago, ago, NOW).goes_on) == (ago, True)
    assert since(NOW, NOW, NOW) is None
    other = since(ago, ago - timedelta(seconds=3), NOW)  # somebody else looked meanwhile
    assert (other.at, other.goes_on) == (ago, False)
    behind = since(ago - timedelta(seconds=3), ago, NOW)  # a clock went back meanwhile
    assert (behind.at, behind.goes_on) == (ago, True)


# --- passes, on the database -------------------------------------------------------


@pytest.fixture
def cluster(db):
    return make_cluster()


@pytest.fixture
def chat(cluster):
    service = make_service(cluster=cluster)
    return make_deployment(service, make_release(service), cluster)


def look(observer, cluster, at):
    assert observer.observe(cluster.pk, at)


def hour(at=NOW):
    return at.replace(minute=0, second=0, microsecond=0)


def test_it_accounts_for_every_gpu_of_the_observed_time(cluster, chat):
    pods = [
        make_pod("serving", gpus=2),
        make_pod("loading", gpus=1, admitted=False),
        make_pod("going", gpus=1, terminating=True, node="h100-2"),
        make_pod("others", gpus=1, node="h100-2", service="", namespace="research"),
        make_pod("held by a lost node", gpus=4, node="h100-3"),
    ]
    nodes = [make_node(), make_node("h100-2"), make_node("h100-3", ready=False)]
    nodes.append(make_node("h100-4", cordoned=True))
    fake = FakeCluster(nodes, pods)
    fake.denied = set()
    observer = Observer(fake)
    look(observer, cluster, NOW)
    assert not gpu_hours(hour())  # one look is no time
    look(observer, cluster, LATER)
    found = {g.state: (g.gpu_ms, g.service_id) for g in gpu_hours(hour())}
    chat_id = chat.service_id
    assert found == {
        "serving": (6000, chat_id),
        "loading": (3000, chat_id),
        "draining": (3000, chat_id),
        "free": (3000 * (1 + 2), None),
        "out": (3000 * (1 + 4 + 4), None),
    }
    look(observer, cluster, LATER + timedelta(hours=1))  # a gap
    assert sum(g.gpu_ms for g in gpu_hours(hour())) == 16 * 3000
    assert observed_hours(hour(), hour() + timedelta(hours=3)) == [hour()]


def test_it_writes_only_what_changed_and_cuts_time_where_it_did(cluster, chat):
    fake = FakeCluster([make_node(gpus=2)], [make_pod(admitted=False)])
    observer = Observer(fake)
    for seconds in (0, 3, 6):
        look(observer, cluster, NOW + timedelta(seconds=seconds))
    assert GpuInterval.objects.count() == GpuUnit.objects.count() == 2
    fake.pods = [make_pod()]
    for seconds in (9, 12):
        look(observer, cluster, NOW + timedelta(seconds=seconds))
    assert GpuInterval.objects.count() == 3
    found = {g.state: g.gpu_ms for g in gpu_hours(hour())}
    assert found == {"loading": 6000, "serving": 6000, "free": 12000}


def test_a_look_like_the_one_before_does_not_even_read_them(cluster, chat):
    fake = FakeCluster([make_node(gpus=2)], [make_pod(admitted=False)])
    observer = Observer(fake)
    asked = []
    for seconds, pods in ((0, fake.pods), (3, fake.pods), (6, fake.pods), (9, [make_pod()])):
        fake.pods = pods
        with CaptureQueriesContext(connection) as said:
            look(observer, cluster, NOW + timedelta(seconds=seconds))
        asked.append(any('FROM "gpu_interval"' in q["sql"] for q in said))
    assert asked == [True, False, False, True]
    assert sum(g.gpu_ms for g in gpu_hours(hour())) == 2 * 9000


def test_time_is_cut_at_full_hours(cluster):
    observer = Observer(FakeCluster([make_node(gpus=1)]))
    before = hour() - timedelta(seconds=2)
    look(observer, cluster, before)
    look(observer, cluster, before + timedelta(seconds=3))
    found = [sum(g.gpu_ms for g in gpu_hours(h)) for h in (hour(before), hour())]
    assert found == [2000, 1000]
    assert observed_hours(hour(before), hour() + timedelta(hours=1)) == [hour(before), hour()]


def test_slices_count_by_their_fraction_and_tell_their_node(cluster, chat):
    node = make_node(gpus=0)
    node["metadata"]["labels"] |= {
        "nvidia.com/gpu.count": "1",
        "karpenter.sh/capacity-type": "spot",
        "karpenter.sh/nodepool": "cut",
    }
    node["status"]["allocatable"] |= {"nvidia.com/mig-3g.40gb": "2"}
    pod = make_pod(gpus=0)
    pod["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-3g.40gb": "1"}
    observer = Observer(FakeCluster([node], [pod]))
    look(observer, cluster, NOW)
    look(observer, cluster, NOW + timedelta(seconds=7))
    found = gpu_hours(hour())
    assert {(g.node_pool, g.capacity, g.product) for g in found} == {("cut", "spot", "NVIDIA-H100")}
    assert {(g.profile, g.state): g.gpu_ms for g in found} == {
        ("3g.40gb", "serving"): 3000,
        ("3g.40gb", "free"): 3000,
        ("rest", "out"): 1000,
    }


def test_intervals_of_a_unit_never_overlap(cluster):
    observer = Observer(FakeCluster([make_node(gpus=1)]))
    look(observer, cluster, NOW)
    look(observer, cluster, LATER)
    known = GpuInterval.objects.get()
    for start, end in ((NOW, None), (LATER, LATER + timedelta(seconds=1)), (NOW, LATER)):
        with pytest.raises(DatabaseError), transaction.atomic():
            GpuInterval.objects.create(
                unit=known.unit, product="H100", capacity="spot", state="out",
                starts_at=start, ends_at=end,
            )  # fmt: skip


def test_hours_that_were_counted_before_are_still_read(cluster):
    GpuTime.objects.create(
        hour=hour(), cluster=cluster, gpu_product="NVIDIA-H100", state="free", gpu_ms=5000
    )
    observer = Observer(FakeCluster([make_node(gpus=1)]))
    look(observer, cluster, NOW)
    look(observer, cluster, LATER)
    assert sum(g.gpu_ms for g in gpu_hours(hour())) == 5000 + 3000
    assert observed_hours(hour(), hour() + timedelta(hours=1)) == [hour()]
