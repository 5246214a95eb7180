"""What a rollout does in a cluster: look at its own objects, apply them, delete them.

Writes are server-side applies of everything that we own, without force: what others own stays
theirs, and a conflict is told with the other manager's name. Force is a person's explicit choice.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from kubernetes import client

from fleet.clients.errors import Permanent, Temporary
from fleet.clients.kube import WHOLE, Access, Json, Kube, answer, connect, refusals
from fleet.rules.manifests import MANAGER
from fleet.rules.members import LEADER_WORKER_SET, PLURAL, SETS
from fleet.rules.refusals import ABOUT, NUMBERED

APPLY = "application/apply-patch+yaml"  # without it a dict goes out as a strategic merge patch
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
LOG_TIMEOUT = (2, 4)  # seconds: nothing waits for a log


class Owned(Permanent):
    """Another field manager owns a field that we must write."""


class Workloads(Protocol):
    """A namespace of one cluster. The fake of the tests has the same methods."""

    def look(
        self, selector: str, kinds: Collection[str] = ("Deployment",)
    ) -> dict[str, list[Json]]: ...
    def around(self, selector: str, kinds: Collection[str]) -> list[Json]: ...
    def apply(self, manifest: Json, *, dry_run: bool = False, force: bool = False) -> Json: ...
    def take_away(self, name: str, uid: str, patch: Json, kind: str = "Deployment") -> None: ...
    def own_alone(
        self, name: str, version: str, managed: list[Json], kind: str = "Deployment"
    ) -> None: ...
    def set_condition(self, pod: str, uid: str, condition: Json) -> None: ...
    def log(self, pod: str, *, previous: bool, lines: int, most: int) -> str: ...
    def list_pods(self, selector: str) -> list[Json]: ...
    def lacks_claim(self, name: str) -> bool: ...
    def make(self, pod: Json) -> None: ...
    def delete(
        self, kind: str, name: str, uid: str, *, grace_seconds: int | None = None
    ) -> None: ...


def open_workloads(access: Access, namespace: str) -> "KubeWorkloads":
    return KubeWorkloads(connect(access), namespace)


class KubeWorkloads:
    """The real ones."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.sets = ""  # version of LeaderWorkerSet
        apps, core, policy = kube.apps, kube.core, kube.policy
        self.patch: dict[str, Callable[..., Any]] = {
            "Deployment": apps.patch_namespaced_deployment,
            "StatefulSet": apps.patch_namespaced_stateful_set,
            "Service": core.patch_namespaced_service,
            "PodDisruptionBudget": policy.patch_namespaced_pod_disruption_budget,
            "ConfigMap": core.patch_namespaced_config_map,
            "NetworkPolicy": kube.networking.patch_namespaced_network_policy,
        }
        self.remove: dict[str, Callable[..., Any]] = {
            "Deployment": apps.delete_namespaced_deployment,
            "StatefulSet": apps.delete_namespaced_stateful_set,
            "PodDisruptionBudget": policy.delete_namespaced_pod_disruption_budget,
            "Pod": core.delete_namespaced_pod,
        }

    def look(
        self, selector: str, kinds: Collection[str] = ("Deployment",)
    ) -> dict[str, list[Json]]:
        """What is scaled, of these kinds, ReplicaSets and pods with these labels, straight from the
        API server; where StatefulSets are among them, also what refuses them pods.
        """
        listings = {
            "replicasets": self.kube.apps.list_namespaced_replica_set,
            "pods": self.kube.core.list_namespaced_pod,
        }
        scaled = [
            item
            for kind in sorted({"Deployment", *kinds})
            for item in self.kube.list_deployments(self.namespace, selector, kind, self._sets(kind))
        ]
        found = {"deployments": scaled} | {
            name: list(self.kube.pages(WHOLE, listing, self.namespace, label_selector=selector))
            for name, listing in listings.items()
        }
        return found | {"events": self._refusals()} if NUMBERED.intersection(kinds) else found

    def around(self, selector: str, kinds: Collection[str]) -> list[Json]:
        """What releases have with these labels besides what is scaled, of these kinds."""
        listing = self.kube.list_around
        return [item for kind in sorted(kinds) for item in listing(self.namespace, kind, selector)]

    def _refusals(self) -> list[Json]:
        """Events of whoever cannot make pods. An account that may not read them learns
        of it at its deadline.
        """
        try:
            return [dict(event) for event in self.kube.list_events(self.namespace, ABOUT)]
        except Permanent as error:
            if error.status != 403:
                raise
            return []

    def apply(self, manifest: Json, *, dry_run: bool = False, force: bool = False) -> Json:
        """Apply all fields that we own; `dry_run` runs admission, defaults and validation only.

        `force` takes the fields that others own: only after a person said so.
        """
        version = manifest["apiVersion"].partition("/")[2]
        more: Json = ({"dry_run": "All"} if dry_run else {}) | ({"force": True} if force else {})
        try:
            return answer(
                *self._of(self.patch, manifest["kind"], manifest["metadata"]["name"], version),
                manifest,
                field_manager=MANAGER,
                field_validation="Strict",
                _content_type=APPLY,
                **more,
            )
        except Permanent as error:
            raise conflict_of(error) from error

    def _sets(self, kind: str) -> str:
        """The version of LeaderWorkerSet that the cluster prefers, asked for once."""
        if kind == LEADER_WORKER_SET and not self.sets:
            self.sets = self.kube.extensions().get(SETS, "v1")
        return self.sets

    def _of(
        self, calls: Mapping[str, Callable[..., Any]], kind: str, name: str, version: str = ""
    ) -> tuple[Any, ...]:
        """The call and what it needs before the body. Of LeaderWorkerSet the client has none."""
        if kind != LEADER_WORKER_SET:
            return calls[kind], name, self.namespace
        objects = client.CustomObjectsApi(self.kube.api)
        patches = calls is self.patch
        call = objects.patch_namespaced_custom_object if patches else None
        call = call or objects.delete_namespaced_custom_object
        return call, SETS, version or self._sets(kind), self.namespace, PLURAL, name

    def take_away(self, name: str, uid: str, patch: Json, kind: str = "Deployment") -> None:
        """Remove from this very object what others added to it."""
        body = patch | {"metadata": {"uid": uid}}
        self._change(kind, name, body, STRATEGIC)

    def own_alone(
        self, name: str, version: str, managed: list[Json], kind: str = "Deployment"
    ) -> None:
        """Write who owns which field; refused when the Deployment was changed meanwhile."""
        body = [
            {"op": "replace", "path": "/metadata/managedFields", "value": managed},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ]
        self._change(kind, name, body, JSON_PATCH)

    def _change(self, kind: str, name: str, body: Any, form: str) -> None:
        call = self._of(self.patch, kind, name)
        try:
            answer(*call, body, field_manager=MANAGER, _content_type=form)
        except Permanent as error:
            raise conflict_of(error) from error

    def set_condition(self, pod: str, uid: str, condition: Json) -> None:
        """Set a condition of this very pod; a pod that is gone meanwhile needs none."""
        body = {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}
        patch = self.kube.core.patch_namespaced_pod_status
        try:
            answer(patch, pod, self.namespace, body, field_manager=MANAGER, _content_type=STRATEGIC)
        except Permanent as error:
            if error.status not in (404, 409):
                raise

    def log(self, pod: str, *, previous: bool, lines: int, most: int) -> str:
        """The last lines of a pod's first container, at most so many bytes of them."""
        read = self.kube.core.read_namespaced_pod_log
        with refusals():
            found = read(
                pod, self.namespace, previous=previous, tail_lines=lines, limit_bytes=most,
                _preload_content=False, _request_timeout=LOG_TIMEOUT,
            )  # fmt: skip
            return str(found.data.decode(errors="replace"))

    def list_pods(self, selector: str) -> list[Json]:
        listing = self.kube.core.list_namespaced_pod
        return list(self.kube.pages(WHOLE, listing, self.namespace, label_selector=selector))

    def lacks_claim(self, name: str) -> bool:
        """Whether there is no such PersistentVolumeClaim, as far as the account may see it."""
        try:
            answer(self.kube.core.read_namespaced_persistent_volume_claim, name, self.namespace)
        except Permanent as error:
            if error.status not in (403, 404):
                raise
            return error.status == 404
        return False

    def make(self, pod: Json) -> None:
        """Create a pod; one of its name that is there already will do."""
        try:
            answer(self.kube.core.create_namespaced_pod, self.namespace, pod, field_manager=MANAGER)
        except Permanent as error:
            if error.status != 409:
                raise

    def delete(self, kind: str, name: str, uid: str, *, grace_seconds: int | None = None) -> None:
        """Ask for the end of this very object; it is gone only when a look says so.

        `grace_seconds`: instead of the pod's own.
        """
        body: Json = {"preconditions": {"uid": uid}, "propagationPolicy": "Foreground"}
        if grace_seconds is not None:
            body = body | {"gracePeriodSeconds": grace_seconds}
        try:
            answer(*self._of(self.remove, kind, name), body=body)
        except Permanent as error:
            if error.status not in (404, 409):
                raise


def conflict_of(error: Permanent) -> Permanent | Temporary:
    """Tell an owner's conflict, a lost race and a refusal apart."""
    if error.status != 409:
        return error
    found: Any = error.detail if isinstance(error.detail, dict) else {}
    causes = (found.get("details") or {}).get("causes") or []
    owned = [c for c in causes if c.get("reason") == "FieldManagerConflict"]
    if not owned:
        return Temporary(error.message, status=409, detail=error.detail)
    fields = "; ".join(f"{c.get('field')}: {c.get('message')}" for c in owned)
    return Owned(
        f"Another manager owns what must be written: {fields}", status=409, detail=error.detail
    )
