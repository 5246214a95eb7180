"""What the API server and the quota of a namespace in memory refuse."""

from fleet.clients.errors import Denied, Permanent, Temporary
from fleet.clients.workloads import Owned

FULL = 'pods "x" is forbidden: exceeded quota: gpus, requested: 1, used: 8, limited: 8'


def gpus_of(deployment) -> int:
    """Of each of its pods."""
    limits = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    return int(limits["nvidia.com/gpu"])


class FakeRefusals:
    """A part of `FakeWorkloads`, whose fields say what is refused."""

    def take_number(self, name: str, manager: str, replicas: int) -> None:
        """As server-side apply with force does: the number is the manager's from now on."""
        found = self.deployments[name]
        self.deployments[name] = found | {"spec": found["spec"] | {"replicas": replicas}}
        self.numbered_by[name] = manager

    def _contest(self, manifest) -> None:
        """Another number than that of its owner is a conflict, the same one is shared."""
        name, wanted = manifest["metadata"]["name"], manifest.get("spec", {}).get("replicas")
        other, live = self.numbered_by.get(name), self.deployments.get(name)
        if other and live and wanted not in (None, live["spec"]["replicas"]):
            raise Owned(f'.spec.replicas: conflict with "{other}"', status=409)

    def _exceeds(self, deployment) -> bool:
        """One pod more of it. Those on their way out count until they are gone."""
        taken = sum(pod["gpus"] for pod in self.pods.values())
        return self.quota is not None and taken + gpus_of(deployment) > self.quota

    def _forbid(self) -> None:
        if self.forbids:
            raise (Denied if self.denies else Permanent)(self.forbids, status=403)

    def _lose(self) -> None:
        if self.loses:
            self.loses -= 1
            raise Temporary("The cluster's API closed the connection without an answer")

    def _reach(self, *call: str) -> None:
        if self.down:
            raise Temporary("The cluster's API does not answer: connection refused")
        self.calls.append(call)
