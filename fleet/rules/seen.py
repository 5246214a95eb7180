"""What the API server says about one release, as far as decisions need it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.rules.kueue import waits_in
from fleet.rules.manifests import ADMITTED, FENCE, RELEASE

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """`loaded`: all containers ready. `admitted`: our readiness gate is set."""

    uid: str
    name: str
    created_at: datetime
    node: str = ""
    address: str = ""
    loaded: bool = False
    ready: bool = False
    admitted: bool = False
    terminating: bool = False
    restarts: int = 0
    waiting: str = ""  # reason of a container that waits
    waiting_text: str = ""
    exit_reason: str = ""  # of the last container that ended: Error, OOMKilled
    exit_code: int | None = None
    exit_text: str = ""  # tail of its log
    unschedulable: str = ""  # the scheduler's sentence
    queue: str = ""  # of Kueue, whose turn it waits for
    image_id: str = ""

    @property
    def serves(self) -> bool:
        return self.ready and self.admitted and not self.terminating


@dataclass(frozen=True, slots=True)
class Side:
    """One release in the cluster. `wanted` is what the Deployment's spec says there."""

    exists: bool = False
    uid: str = ""
    wanted: int = 0
    fence: int = 0
    refused: str = ""  # why its ReplicaSet cannot make pods
    pods: tuple[Pod, ...] = ()

    @property
    def live(self) -> tuple[Pod, ...]:
        return tuple(p for p in self.pods if not p.terminating)

    @property
    def serving(self) -> int:
        return sum(p.serves for p in self.pods)

    @property
    def loaded(self) -> int:
        return sum(p.loaded for p in self.live)

    @property
    def terminating(self) -> int:
        return sum(p.terminating for p in self.pods)

    @property
    def queued(self) -> int:
        """Replicas that Kueue has not let in yet."""
        return sum(bool(p.queue) for p in self.live)

    @property
    def gone(self) -> bool:
        return not self.exists and not self.pods


def read_side(look: Mapping[str, Sequence[Json]], fingerprint: str) -> Side:
    """Pick one release out of a look at all objects of its service."""
    deployments = [d for d in look["deployments"] if release_of(d) == fingerprint]
    pods = tuple(read_pod(p) for p in look["pods"] if release_of(p) == fingerprint)
    sets = [r for r in look["replicasets"] if release_of(r) == fingerprint]
    if not deployments:
        return Side(pods=pods)
    found = deployments[0]
    meta = found["metadata"]
    return Side(
        # One that is being deleted in the foreground is not ours to scale any more.
        exists=True,
        uid=meta["uid"],
        wanted=found["spec"].get("replicas", 0),
        fence=int((meta.get("annotations") or {}).get(FENCE, 0)),
        refused=next((text for r in sets if (text := refusal_of(r))), ""),
        pods=pods,
    )


def release_of(item: Json) -> str:
    return str((item["metadata"].get("labels") or {}).get(RELEASE, ""))


def refusal_of(replica_set: Json) -> str:
    """The message of a ReplicaSet that wants pods and cannot make them: quota, admission."""
    if not replica_set["spec"].get("replicas"):
        return ""
    for condition in replica_set.get("status", {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", ""))
    return ""


def read_pod(pod: Json) -> Pod:
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    statuses = status.get("containerStatuses") or []
    container = statuses[0] if statuses else {}
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = _ended(container)
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        created_at=datetime.fromisoformat(meta["creationTimestamp"]),
        node=pod["spec"].get("nodeName", ""),
        address=status.get("podIP", ""),
        loaded=_true(conditions, "ContainersReady"),
        ready=_true(conditions, "Ready"),
        admitted=_true(conditions, ADMITTED),
        terminating="deletionTimestamp" in meta or status.get("phase") in ("Failed", "Succeeded"),
        restarts=container.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        waiting_text=waiting.get("message", ""),
        exit_reason=ended.get("reason", ""),
        exit_code=ended.get("exitCode"),
        exit_text=ended.get("message", "")[-2000:],
        unschedulable=_unschedulable(conditions),
        queue=waits_in(pod),
        image_id=container.get("imageID", ""),
    )


def _ended(container: Json) -> Json:
    for part in ("state", "lastState"):
        found: Json = (container.get(part) or {}).get("terminated") or {}
        if found:
            return found
    return {}


def _true(conditions: Mapping[str, Json], kind: str) -> bool:
    return bool(conditions.get(kind, {}).get("status") == "True")


def _unschedulable(conditions: Mapping[str, Json]) -> str:
    found = conditions.get("PodScheduled", {})
    if found.get("status") == "False":
        return f"{found.get('reason', '')}: {found.get('message', '')}"
    return ""
