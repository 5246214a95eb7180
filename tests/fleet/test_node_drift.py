"""Changed labels and taints of nodes: seen with the author, put back or accepted by a person."""

from datetime import timedelta

import msgspec
import pytest

from fleet.actions.node_drift import accept
from fleet.clients.kube import NODES
from fleet.drive.observation import Observer
from fleet.models import NodeDrift
from fleet.queries.node_drift import list_node_drift
from fleet.queries.overview import Urgency, get_overview
from fleet.rules.node_labels import Change, changes, line_back, meaning
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.models import AuditEvent
from tests.fleet.drive.stage import make_viewer
from tests.fleet.fake_cluster import NOW, FakeCluster, make_node
from tests.fleet.makers import make_cluster

PRODUCT = "nvidia.com/gpu.product"
KEPT = {"gpu_product": "NVIDIA-H100", "clique": "a.1", "zone": "z1", "taints": []}
AT = "2026-11-20T11:59:50Z"


# --- rules -----------------------------------------------------------------------

CHANGES = {
    "another product": ({"gpu_product": "A"}, Change("label", PRODUCT, "NVIDIA-H100", "A")),
    "a label that is gone": (
        {"zone": ""},
        Change("label", "topology.kubernetes.io/zone", "z1", None),
    ),
    "a taint": (
        {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]},
        Change("taint", "team:NoSchedule", None, "x"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_tells_what_changed(name):
    after, change = CHANGES[name]
    assert changes(KEPT, KEPT | after) == (change,)
    assert changes(KEPT, KEPT) == ()


def test_it_takes_no_taint_of_kubernetes_itself_for_a_hand():
    lost = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    assert changes(KEPT, KEPT | {"taints": [lost]}) == ()


LINES = {
    ("label", PRODUCT, "NVIDIA-H100"): f"kubectl label node n1 {PRODUCT}=NVIDIA-H100 --overwrite",
    ("label", PRODUCT, None): f"kubectl label node n1 {PRODUCT}-",
    ("taint", "team:NoSchedule", None): "kubectl taint node n1 team:NoSchedule-",
    ("taint", "team:NoSchedule", "x"): "kubectl taint node n1 team=x:NoSchedule --overwrite",
}


@pytest.mark.parametrize("of", LINES)
def test_it_gives_the_line_that_puts_it_back(of):
    assert line_back("n1", *of) == LINES[of]


def test_it_says_what_follows_for_placements():
    told = meaning("label", PRODUCT, "NVIDIA-H100", "NVIDIA-A100", ours=2)
    assert "2 replicas of ours run on it: a release that names NVIDIA-H100 finds no place" in told
    told = meaning("taint", "team:NoSchedule", None, "x", ours=1)
    assert "1 replica of ours runs on it and would find no place here once started again" in told


# --- the observer ----------------------------------------------------------------


@pytest.fixture
def cluster(db):
    return make_cluster()


@pytest.fixture
def fake(cluster):
    """As it was known before."""
    fake = FakeCluster([make_node("n1"), make_node("n2")])
    look(cluster, fake, 0)
    return fake


@pytest.fixture
def olga(db):
    return make_viewer("olga", "operator")


def look(cluster, fake, seconds):
    assert Observer(fake).observe(cluster.pk, NOW + timedelta(seconds=seconds))


def relabelled(product):
    node = make_node("n1", product=product)
    fields = {"f:metadata": {"f:labels": {f"f:{PRODUCT}": {}}}}
    writer = {"manager": "kubectl-label", "operation": "Update", "time": AT, "fieldsV1": fields}
    node["metadata"]["managedFields"] = [writer]
    page = msgspec.json.encode({"items": [node], "metadata": {}})
    return NODES.decode(page).items[0]  # as the API server's answer is read


def listed(viewer):
    with scope_of(viewer):
        return list_node_drift(viewer)


def test_a_new_label_is_shown_with_its_author_and_ends_when_it_is_put_back(cluster, fake, olga):
    assert listed(olga) == ()
    fake.nodes[0] = relabelled("NVIDIA-A100")
    look(cluster, fake, 3)
    (row,) = listed(olga)
    assert (row.node, row.name, row.expected, row.live) == (
        "n1", PRODUCT, "NVIDIA-H100", "NVIDIA-A100",
    )  # fmt: skip
    assert (row.manager, row.operation) == ("kubectl-label", "Update")
    assert row.written_at.isoformat() == "2026-11-20T11:59:50+00:00"
    with scope_of(olga):
        (line,) = [a for a in get_overview(olga, NOW).attention if a.kind == "nodes"]
    assert line.urgency is Urgency.PERSON
    assert "changed by kubectl-label to NVIDIA-A100, it was NVIDIA-H100" in line.why
    fake.nodes[0] = make_node("n1")
    look(cluster, fake, 6)
    assert listed(olga) == ()
    assert NodeDrift.objects.get().accepted_by == ""


def test_a_person_accepts_what_is_there_with_a_reason(cluster, fake, olga):
    fake.nodes[0] = relabelled("NVIDIA-A100")
    look(cluster, fake, 3)
    (row,) = listed(olga)
    with scope_of(olga), pytest.raises(Invalid):
        accept(olga, row.id, live="NVIDIA-A100", why=" ")
    with scope_of(olga), pytest.raises(Conflict, match="was changed again"):
        accept(olga, row.id, live="NVIDIA-L40S", why="new cards")
    with scope_of(olga):
        accept(olga, row.id, live="NVIDIA-A100", why="new cards")
    look(cluster, fake, 6)
    assert listed(olga) == ()
    with fleet_scope():
        told = AuditEvent.objects.get(verb="node.accept")
    assert (told.before, told.after) == ({PRODUCT: "NVIDIA-H100"}, {PRODUCT: "NVIDIA-A100"})
    with scope_of(olga), pytest.raises(Conflict, match="nothing to decide"):
        accept(olga, row.id, live="NVIDIA-A100", why="again")


def test_nobody_without_the_right_accepts(cluster, fake):
    fake.nodes[0] = relabelled("NVIDIA-A100")
    look(cluster, fake, 3)
    mallory = make_viewer("mallory", "viewer")
    with scope_of(mallory), pytest.raises(Forbidden):
        accept(mallory, NodeDrift.objects.get().pk, live="NVIDIA-A100", why="mine")


def test_it_follows_a_second_change_and_forgets_a_node_that_left(cluster, fake, olga):
    fake.nodes[0] = relabelled("NVIDIA-A100")
    look(cluster, fake, 3)
    fake.nodes[0] = relabelled("NVIDIA-B200")
    look(cluster, fake, 6)
    (row,) = listed(olga)
    assert (row.expected, row.live) == ("NVIDIA-H100", "NVIDIA-B200")
    del fake.nodes[0]
    look(cluster, fake, 9)
    assert listed(olga) == ()


def test_a_taint_of_somebody_is_seen_and_a_new_node_is_no_change(cluster, fake, olga):
    fake.nodes[1] = make_node("n2", taints=[{"key": "team", "effect": "NoSchedule"}])
    fake.nodes.append(make_node("n3", product="NVIDIA-B200"))
    look(cluster, fake, 3)
    (row,) = listed(olga)
    assert (row.kind, row.name, row.expected, row.live) == ("taint", "team:NoSchedule", None, "")
    assert row.live_text == "set, without a value"
