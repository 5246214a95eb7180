"""Pods that are one engine: who leads, who works, and whether all of them are there. Pure.

A leader answers for its whole group. So it counts as loaded only while each of its workers runs,
and a worker takes part in traffic exactly as its leader does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from fleet.rules.groups import is_worker, leader_of

SETS = "leaderworkerset.x-k8s.io"  # the API group of LeaderWorkerSet
PLURAL = "leaderworkersets"
LEADER_WORKER_SET = "LeaderWorkerSet"
OF_SETS = "leaderworkerset.sigs.k8s.io"  # of the labels that its controller gives to pods
EXCLUSIVE = f"{OF_SETS}/exclusive-topology"  # its value: a label of nodes
SUBGROUP_EXCLUSIVE = f"{OF_SETS}/subgroup-exclusive-topology"
POD_INDEX = "apps.kubernetes.io/pod-index"  # of a StatefulSet
INDEX = "QUARTERMASTER_GROUP_INDEX"
GROUP = "QUARTERMASTER_GROUP"  # what the members of one group say to each other, and nobody else
SIZE = "quartermaster.dev/group-size"  # pods of an engine
MASTER_PORT = 29501
INCOMPLETE = "IncompleteGroup"


class Member(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def admitted(self) -> bool: ...
    @property
    def terminating(self) -> bool: ...
    @property
    def started_at(self) -> datetime | None: ...  # its container
    @property
    def ready_at(self) -> datetime | None: ...  # since when its containers are


M = TypeVar("M", bound=Member)


def role_in(labels: Mapping[str, str], role: str) -> str:
    """Of its own label; all workers of a LeaderWorkerSet have one template, and a rank each."""
    rank = labels.get(f"{OF_SETS}/worker-index", "0")
    return role if rank == "0" else f"{role}-w{rank}"


def group_in(labels: Mapping[str, str]) -> str:
    """The number of its group among those of its role."""
    return labels.get(f"{OF_SETS}/group-index") or labels.get(POD_INDEX, "")


def groups_of(pods: Iterable[M]) -> dict[tuple[str, str], list[M]]:
    """Pods of engines over several of them, by role and number; one release's only."""
    found: dict[tuple[str, str], list[M]] = {}
    for pod in pods:
        if pod.size > 1:
            found.setdefault((leader_of(pod.role), pod.group), []).append(pod)
    return found


def lacking(members: Sequence[M], runs: Callable[[M], bool]) -> str:
    """Whom a group waits for. Empty: all of it is there."""
    if late := torn(members):
        return f"{late[0].name} started again after its leader was ready: all of it must begin anew"
    there = [p for p in members if is_worker(p.role) and not p.terminating and runs(p)]
    wanted = members[0].size - 1
    if len(there) == wanted:
        return ""
    absent = sorted(p.name for p in members if is_worker(p.role) and p not in there)
    named = f": {', '.join(absent)} {'does' if len(absent) == 1 else 'do'} not run" * bool(absent)
    return f"{len(there)} of {wanted} workers are there{named}"


def torn(members: Sequence[M]) -> list[M]:
    """Workers that are of no use to their leader: it shares its work with those of its start."""
    leader = next((p for p in members if not is_worker(p.role)), None)
    since = leader.ready_at if leader else None
    if since is None:
        return []
    return [p for p in members if is_worker(p.role) and p.started_at and p.started_at > since]


def together(pods: Sequence[M], runs: str) -> tuple[M, ...]:
    """The same pods, each leader as its whole group is. `runs`: the field that tells it of one."""
    changed: dict[str, M] = {}
    for members in groups_of(pods).values():
        why = lacking(members, lambda p: bool(getattr(p, runs)))
        leader = next((p for p in members if not is_worker(p.role)), None)
        for pod in members:
            if is_worker(pod.role):
                led = leader is not None and leader.admitted and not leader.terminating
                changed[pod.name] = _with(pod, admitted=led)
            elif why:
                changed[pod.name] = _with(pod, lacks=why, **{"ready": False, runs: False})
    return tuple(changed.get(p.name, p) for p in pods)


def _with(pod: Any, **changed: Any) -> Any:
    return replace(pod, **changed)


def arguments(size: int, rank: str, leader: str) -> list[str]:
    """What tells vLLM its place in the group. Only rank 0 speaks HTTP."""
    found = [
        f"--nnodes={size}",
        f"--node-rank={rank}",
        f"--master-addr={leader}",
        f"--master-port={MASTER_PORT}",
    ]
    return found if rank == "0" else [*found, "--headless"]
