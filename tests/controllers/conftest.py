"""A cluster with the real Kueue, which `make test-controllers` asks for."""

from collections.abc import Iterator

import pytest

from sandbox.controllers import build
from sandbox.controllers.queues import RealQueues
from tests.fixtures.cluster import RunningCluster, cluster

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def queues(cluster: RunningCluster) -> Iterator[RealQueues]:
    found = RealQueues(cluster.sandbox.cluster, build.ensure(build.KUEUE))
    found.install()
    yield found
    found.remove()
