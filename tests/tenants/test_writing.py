"""Rows that are written by one statement are the rows that were given."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.models import Cluster, Node, ObservedPod
from tenants.base.writing import write_rows

NOW = datetime(2026, 11, 27, 12, 0, 0, 250_000, tzinfo=UTC)
FIELDS = ("cluster", "name", "zone", "ready", "gpus_used", "taints", "changed_at", "observed_at")
words = st.text(st.one_of(st.sampled_from("\\\"{},;'NUL \t\n"), st.characters(codec="ascii",
    exclude_characters="\0")), max_size=12)  # fmt: skip


@pytest.fixture
def cluster(db):
    return Cluster.objects.create(slug="local", name="Local", region="r")


def row(cluster, name, **more):
    given = {"zone": "z1", "ready": True, "gpus_used": 3, "taints": "[]", "changed_at": NOW}
    return (cluster.pk, name, *(given | {"observed_at": NOW} | more).values())


def test_new_rows_are_inserted_and_known_ones_are_renewed(cluster):
    defaults = {name: "" for name in ("gpu_product", "clique", "trouble")}
    fields = ("cluster_id", *FIELDS[1:], *defaults, "gpus_allocatable", "cordoned")

    def write(*rows, renew):
        more = (*defaults.values(), 8, False)
        given = [(*one, *more) for one in rows]
        write_rows(Node, fields, given, once=["cluster_id", "name"], renew=renew)

    write(row(cluster, "a"), row(cluster, "b", ready=False, taints='[{"key": "x"}]'), renew=())
    later = NOW + timedelta(seconds=3)
    write(
        row(cluster, "a", zone="z2", gpus_used=4, changed_at=later),
        row(cluster, "c", zone='{"\\'),
        renew=["zone", "changed_at"],
    )
    write(row(cluster, "b", zone="z9"), renew=())  # left as it is
    values = Node.objects.order_by("name").values_list("name", *FIELDS[2:])
    assert list(values) == [
        ("a", "z2", True, 3, [], later, NOW),
        ("b", "z1", False, 3, [{"key": "x"}], NOW, NOW),
        ("c", '{"\\', True, 3, [], NOW, NOW),
    ]


def test_nothing_asks_nothing(cluster, django_assert_num_queries):
    with django_assert_num_queries(0):
        write_rows(Node, FIELDS, [])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(words, st.none() | st.datetimes(timezones=st.just(UTC),
    min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1))), max_size=5))  # fmt: skip
def test_texts_and_moments_arrive_as_they_were(cluster, said):
    ObservedPod.objects.all().delete()
    given = {
        "cluster": cluster.pk, "created_at": NOW, "observed_at": NOW, "restarts": 0, "gpus": 1,
        "ready": False, "admitted": False, "terminating": True, "probe": "", "probe_passes": 0,
        "probe_failures": 0, "release": "", "node": "", "address": "", "phase": "", "reason": "",
        "last_log": "", "image_id": "", "name": "engine",
    }  # fmt: skip
    write_rows(
        ObservedPod,
        ("uid", "message", "ready_at", *given),
        [(f"u{n}", text, at, *given.values()) for n, (text, at) in enumerate(said)],
    )
    rows = ObservedPod.objects.order_by("uid")
    assert list(rows.values_list("message", "ready_at", "role")) == [(*s, "serve") for s in said]
