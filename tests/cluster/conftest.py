"""The cluster of this folder's tests, two releases that fill its H100s, a service on its L40S."""

from collections.abc import Iterator

import pytest
from django.db import connection

from sandbox.cluster.kube import Json
from tests.cluster.rollout_stage import RealStage
from tests.cluster.shared_stage import SharedStage
from tests.fixtures.cluster import RunningCluster, cluster, second_cluster
from tests.fixtures.engines import vllm
from tests.fixtures.kubernetes import apply, deployment

__all__ = ["cluster", "second_cluster", "vllm"]


@pytest.fixture(scope="module")
def releases(cluster: RunningCluster) -> RunningCluster:
    """rel1 drains slowly, rel2 aborts at once; together they take 8 of 8 H100s.

    They stay for the next module, which finds them as they were or places them again.
    """
    args = ("--start-delay=1", "--itl-ms=20", "--shutdown-timeout=15")
    apply(cluster.console, deployment("rel1", replicas=2, gpus=2, args=args, grace=18))
    apply(
        cluster.console,
        deployment("rel2", replicas=2, gpus=2, args=("--start-delay=1", "--itl-ms=1"), grace=6),
    )
    cluster.ready("rel1", 2)
    cluster.ready("rel2", 2)
    return cluster


@pytest.fixture
def rel1(releases: RunningCluster) -> list[Json]:
    return releases.ready("rel1", 2)


@pytest.fixture
def rel2(releases: RunningCluster) -> list[Json]:
    return releases.ready("rel2", 2)


@pytest.fixture(scope="module")
def shared(cluster: RunningCluster, django_db_setup, django_db_blocker) -> Iterator[SharedStage]:
    with django_db_blocker.unblock():
        made = SharedStage(cluster)
        yield made
        made.clear()
        connection.close()


@pytest.fixture
def stage(shared: SharedStage) -> RealStage:
    """One release serves with two replicas on a node of four GPUs."""
    return shared.serving()


@pytest.fixture
def bare(shared: SharedStage) -> Iterator[RunningCluster]:
    """The cluster without that service, for a test that makes its own."""
    shared.clear()
    yield shared.cluster
    shared.clear()
