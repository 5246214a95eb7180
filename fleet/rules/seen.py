"""What the API server says about one release, as far as decisions need it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fleet.rules.groups import DECODE, PREFILL, leader_of, touched, whole
from fleet.rules.kueue import waits_in
from fleet.rules.manifests import ADMITTED, FENCE, RELEASE, ROLE, each_of
from fleet.rules.members import LEADER_WORKER_SET, SIZE, group_in, role_in, together
from fleet.rules.quantity import moment
from fleet.rules.quantity import whole as whole_number
from fleet.rules.refusals import refusal_in, refusal_of
from fleet.rules.release import GPU, SERVE

Json = Mapping[str, Any]
ENDED = ("Failed", "Succeeded")


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
    role: str = SERVE
    gpus: int = 0
    peer: str = ""  # of a decode: address of a loaded pod that hands blocks over to it
    size: int = 1  # pods of its engine
    group: str = ""  # which of these engines
    lacks: str = ""  # of a leader: whom its engine waits for
    started_at: datetime | None = None  # its container
    ready_at: datetime | None = None  # since when its containers are
    ended_at: datetime | None = None  # it holds nothing any more, only its object is there
    evicted: str = ""  # the kubelet's sentence

    @property
    def serves(self) -> bool:
        return self.ready and self.admitted and not self.terminating

    @property
    def lost(self) -> bool:
        """Not ready though its containers and our gate are: so says who watches over nodes."""
        return self.loaded and self.admitted and not self.ready


@dataclass(frozen=True, slots=True)
class Part:
    """One Deployment of a release, or what stands for it, as it is there."""

    name: str
    uid: str
    pods: int  # wanted
    each: int = 1  # of one replica of the release
    kind: str = "Deployment"
    role: str = SERVE


@dataclass(frozen=True, slots=True)
class Side:
    """One release in the cluster, counted in replicas of the release: with roles, whole groups.

    `wanted` is what the spec says there. It exists where each of its Deployments does.
    """

    exists: bool = False
    uid: str = ""  # of its only Deployment
    wanted: int = 0
    fence: int = 0
    refused: str = ""  # why pods of it cannot be made
    pods: tuple[Pod, ...] = ()
    parts: tuple[Part, ...] = ()  # those that are there
    shape: Mapping[str, int] = field(default_factory=dict)  # pods of each role in a replica

    @property
    def live(self) -> tuple[Pod, ...]:
        return tuple(p for p in self.pods if not p.terminating)

    @property
    def there(self) -> tuple[Pod, ...]:
        """Those that may hold GPUs."""
        return tuple(p for p in self.pods if p.ended_at is None)

    @property
    def alive(self) -> int:
        """Replicas of which at least a pod lives."""
        return self._touched(self.live)

    @property
    def serving(self) -> int:
        return self._whole(p for p in self.pods if p.serves)

    @property
    def loaded(self) -> int:
        return self._whole(p for p in self.live if p.loaded)

    @property
    def terminating(self) -> int:
        return self._touched(p for p in self.there if p.terminating)

    @property
    def queued(self) -> int:
        """Replicas that Kueue has not let in yet."""
        return self._touched(p for p in self.live if p.queue)

    @property
    def gone(self) -> bool:
        return not self.exists and not self.parts and not self.pods

    @property
    def uneven(self) -> bool:
        """Its roles stand for different numbers of replicas: a write that was cut, or a hand."""
        return any(part.pods != self.wanted * part.each for part in self.parts if self.exists)

    def gpus(self, of_replica: int) -> int:
        """GPUs that its pods have; one without a node has none yet."""
        there = [p for p in self.there if p.node]
        return sum(p.gpus for p in there) if self.shape else len(there) * of_replica

    def _whole(self, pods: Iterable[Pod]) -> int:
        return whole((p.role for p in pods), self.shape)

    def _touched(self, pods: Iterable[Pod]) -> int:
        return touched((p.role for p in pods), self.shape)


def read_side(
    look: Mapping[str, Sequence[Json]], fingerprint: str, shape: Mapping[str, int] | None = None
) -> Side:
    """Pick one release out of a look at all objects of its service."""
    shape = shape or {}
    found = [d for d in look["deployments"] if release_of(d) == fingerprint]
    pods = tuple(read_pod(p) for p in look["pods"] if release_of(p) == fingerprint)
    parts = tuple(read_part(d) for d in found)
    pods = with_peers(together(pods, "loaded"))
    if not parts:
        return Side(pods=pods, shape=shape)
    # All ranks of an engine are one LeaderWorkerSet.
    one = any(part.kind == LEADER_WORKER_SET for part in parts)
    complete = len(parts) >= (len(set(map(leader_of, shape))) if one else len(shape))
    return Side(
        # One that is being deleted in the foreground is not ours to scale any more.
        exists=complete,
        uid=parts[0].uid,
        wanted=min(part.pods // part.each for part in parts) if complete else 0,
        fence=max(fence_in(d) for d in found),
        refused=refused_in(look, found, fingerprint),
        pods=pods,
        parts=parts,
        shape=shape,
    )


def read_part(deployment: Json) -> Part:
    meta = deployment["metadata"]
    pods = deployment["spec"].get("replicas", 0)
    kind = deployment.get("kind", "Deployment")
    role = (meta.get("labels") or {}).get(ROLE, SERVE)
    return Part(meta.get("name", ""), meta["uid"], pods, each_of(deployment), kind, role)


def fence_in(deployment: Json) -> int:
    """Somebody may have written another word there."""
    return whole_number((deployment["metadata"].get("annotations") or {}).get(FENCE, 0))


def with_peers(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Whoever takes blocks is asked together with somebody who hands them over."""
    givers = [p for p in pods if p.role == PREFILL and p.loaded and not p.terminating]
    peer = min((p.address for p in givers), default="")
    return tuple(replace(p, peer=peer) if p.role == DECODE else p for p in pods)


def release_of(item: Json) -> str:
    return str((item["metadata"].get("labels") or {}).get(RELEASE, ""))


def refused_in(look: Mapping[str, Sequence[Json]], found: Sequence[Json], fingerprint: str) -> str:
    """Why pods of these cannot be made. Empty: nothing is refused."""
    sets = [r for r in look["replicasets"] if release_of(r) == fingerprint]
    pods = [p for p in look["pods"] if release_of(p) == fingerprint]
    numbered = [d for d in found if d.get("kind", "Deployment") != "Deployment"]
    told = [refusal_of(r) for r in sets]
    told += [refusal_in(d, pods, look.get("events", ())) for d in numbered]
    return next(filter(None, told), "")


def read_pod(pod: Json) -> Pod:
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    statuses = status.get("containerStatuses") or []
    container = statuses[0] if statuses else {}
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended, labels = _ended(container), meta.get("labels") or {}
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        created_at=datetime.fromisoformat(meta["creationTimestamp"]),
        node=pod["spec"].get("nodeName", ""),
        address=status.get("podIP", ""),
        loaded=_true(conditions, "ContainersReady"),
        ready=_true(conditions, "Ready"),
        admitted=_true(conditions, ADMITTED),
        terminating="deletionTimestamp" in meta or status.get("phase") in ENDED,
        restarts=container.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        waiting_text=waiting.get("message", ""),
        exit_reason=ended.get("reason", ""),
        exit_code=ended.get("exitCode"),
        exit_text=ended.get("message", "")[-2000:],
        unschedulable=_unschedulable(conditions),
        queue=waits_in(pod),
        image_id=container.get("imageID", ""),
        role=role_in(labels, labels.get(ROLE, SERVE)),
        size=max(whole_number(labels.get(SIZE, 1)), 1),
        group=group_in(labels),
        started_at=started_in(container),
        ready_at=_since(conditions, "ContainersReady"),
        gpus=sum(map(_gpus, pod["spec"].get("containers", []))),
        ended_at=_ended_at(pod, conditions),
        evicted=status.get("message", "") if status.get("reason") == "Evicted" else "",
    )


def _ended_at(pod: Json, conditions: Mapping[str, Json]) -> datetime | None:
    if pod.get("status", {}).get("phase") not in ENDED:
        return None
    told = moment(conditions.get("Ready", {}).get("lastTransitionTime"))
    return told or datetime.fromisoformat(pod["metadata"]["creationTimestamp"])


def _gpus(container: Json) -> int:
    return whole_number(container.get("resources", {}).get("limits", {}).get(GPU, 0))


def started_in(container: Json) -> datetime | None:
    return moment(((container.get("state") or {}).get("running") or {}).get("startedAt"))


def _since(conditions: Mapping[str, Json], kind: str) -> datetime | None:
    """Since when it is true."""
    return moment(conditions[kind].get("lastTransitionTime")) if _true(conditions, kind) else None


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
