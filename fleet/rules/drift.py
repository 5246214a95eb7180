"""Wanted against live: does the cluster have what the rows say? Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fleet.rules.groups import touched, whole
from fleet.rules.release import SERVE


class Sync(StrEnum):
    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One deployment row."""

    name: str
    release: str  # fingerprint
    image_digest: str
    replicas: int
    shape: Mapping[str, int] = field(default_factory=dict)  # pods of each role in a replica


@dataclass(frozen=True, slots=True)
class Live:
    """One observed pod that is not going away."""

    name: str
    release: str
    image_id: str
    admitted: bool  # takes traffic
    role: str = SERVE
    evicted: str = ""  # by a kubelet: from where and why. It has ended


def evicted_words(reason: str, node: str, message: str) -> str:
    """For `Live.evicted`, of what the observer keeps of a pod."""
    return f"from {node or 'its node'}: {message or reason}" if reason == "Evicted" else ""


def compare(
    wanted: Sequence[Wanted], live: Sequence[Live], *, unknown_because: str = ""
) -> tuple[Sync, tuple[str, ...]]:
    """The state, and one sentence for each difference."""
    if unknown_because:
        return Sync.UNKNOWN, (unknown_because,)
    told: list[str] = []
    for deployment in wanted:
        told += _differences(deployment, [p for p in live if p.release == deployment.release])
    known = {d.release for d in wanted}
    staying = [p for p in live if not p.evicted]
    strangers = sorted({p.release or "no release" for p in staying if p.release not in known})
    told += [f"Pods of {release} run although no deployment wants them" for release in strangers]
    return (Sync.DRIFTED if told else Sync.IN_SYNC), tuple(told)


def answering(wanted: Wanted, live: Sequence[Live]) -> int:
    """Whole replicas that take traffic."""
    own = (p.role for p in live if p.release == wanted.release and p.admitted)
    return whole(own, wanted.shape)


def _differences(wanted: Wanted, seen: Sequence[Live]) -> list[str]:
    """Evictions are told until those that take their place answer."""
    told, pods = [], [p for p in seen if not p.evicted]
    serving = answering(wanted, pods)
    if serving != wanted.replicas:
        told.append(
            f"{wanted.name}: {serving} of {wanted.replicas} wanted replicas take traffic,"
            f" {touched((p.role for p in pods), wanted.shape)} exist"
        )
        told += [f"{p.name} was evicted {p.evicted}" for p in seen if p.evicted]
    for pod in pods:
        running = pod.image_id.rpartition("@")[2]
        if running and running != wanted.image_digest:
            told.append(
                f"{pod.name} runs image {running[:19]}…, wanted is {wanted.image_digest[:19]}…"
            )
    return told
