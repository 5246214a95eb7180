"""The same faults on the real cluster and on the one in memory."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from fleet.actions import rollouts as actions
from fleet.drive.rollout import drive
from fleet.models import Deployment
from sandbox.cluster.kube import ApiStatusError
from tests.cluster.rollout_stage import PACE
from tests.fixtures.kubernetes import DEPLOYMENTS, NAMESPACE

QUOTA = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
OTHER = "another-manager"
PASSES = 3  # while the API server is away


class Faults:
    """What befalls a rollout, by the names of a script."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage

    @contextlib.contextmanager
    def upon(self, rollout) -> Iterator[None]:
        self.rollout = rollout
        try:
            yield
        finally:
            self.free_quota()

    def name(self, release_id: int) -> str:
        return Deployment.objects.get(service=self.stage.service, release_id=release_id).name

    def take_old(self) -> None:
        self.number(self.name(self.rollout.from_release_id), 2)

    def shrink_old(self) -> None:
        self.number(self.name(self.rollout.from_release_id), 1)

    grow_old = take_old

    def take_new(self) -> None:
        self.number(self.name(self.rollout.to_release_id), 1)

    def away(self) -> None:
        with self.lost():
            self.passes()

    def abort_away(self) -> None:
        with self.lost():
            self.passes()
            self.stage.act(actions.abort_rollout, self.rollout.pk, why="drill in the dark")
            self.passes()

    def number(self, name: str, replicas: int) -> None:
        raise NotImplementedError

    def passes(self) -> None:
        raise NotImplementedError

    def lost(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError

    def free_quota(self) -> None:
        raise NotImplementedError


class RealFaults(Faults):
    def fill_quota(self) -> None:
        """Others have what the two replicas do not."""
        hard = {"requests.nvidia.com/gpu": "2"}
        body = {"metadata": {"name": "filled"}, "spec": {"hard": hard}}
        self.stage.cluster.admin.post(QUOTA, body)

    def free_quota(self) -> None:
        with contextlib.suppress(ApiStatusError):  # there is none
            self.stage.cluster.admin.delete(f"{QUOTA}/filled")

    def number(self, name: str, replicas: int) -> None:
        spec = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}
        self.stage.cluster.admin.apply(f"{DEPLOYMENTS}/{name}", spec, manager=OTHER)

    def passes(self) -> None:
        for _ in range(PASSES):
            drive(self.rollout.pk, self.stage.outside)
            time.sleep(PACE)

    def lost(self) -> contextlib.AbstractContextManager[None]:
        away: contextlib.AbstractContextManager[None] = self.stage.cluster.api_server_away()
        return away


class MemoryFaults(Faults):
    def fill_quota(self) -> None:
        self.stage.fake.quota = 2

    def free_quota(self) -> None:
        self.stage.fake.quota = None

    def number(self, name: str, replicas: int) -> None:
        self.stage.fake.take_number(name, OTHER, replicas)

    def passes(self) -> None:
        for _ in range(PASSES):
            drive(self.rollout.pk, self.stage.outside)
            self.stage.fake.tick(1)

    @contextlib.contextmanager
    def lost(self) -> Iterator[None]:
        self.stage.fake.down = True
        try:
            yield
        finally:
            self.stage.fake.down = False
