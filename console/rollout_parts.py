"""Pods, GPUs and changes of a rollout as its page shows them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.queries.rollout_pods import KeptPod
from fleet.queries.rollouts import ReleaseSide, RolloutDetail
from fleet.queries.services import PodRow
from fleet.rules.differences import Change
from fleet.rules.phases import Phase

NAMED = 2  # changes


@dataclass(frozen=True, slots=True)
class PodLine:
    """One pod: as the observer sees it now, as the rollout keeps it, or both."""

    live: PodRow | None
    kept: KeptPod | None
    name: str
    node: str
    restarts: int
    start_seconds: float | None
    created_at: datetime


def pods_by_side(detail: RolloutDetail) -> list[tuple[ReleaseSide, list[PodLine]]]:
    """The new release first; pods that are gone stay in the list."""
    sides = [side for side in (detail.new, detail.old) if side]
    return [(side, pods_of(side, detail.pods)) for side in sides]


def pods_of(side: ReleaseSide, kept: Sequence[KeptPod]) -> list[PodLine]:
    known = {k.uid: k for k in kept}
    found = [line_of(pod, known.get(pod.uid)) for pod in side.pods]
    gone = [k for k in kept if k.release == side.fingerprint and k.gone]
    return found + [gone_line(k) for k in gone]


def line_of(p: PodRow, kept: KeptPod | None) -> PodLine:
    start = kept.start_seconds if kept else None
    return PodLine(p, kept, p.name, p.node, p.restarts, start, p.created_at)


def gone_line(k: KeptPod) -> PodLine:
    return PodLine(None, k, k.name, k.node, k.restarts, k.start_seconds, k.created_at)


def holding(detail: RolloutDetail) -> str:
    """GPUs held now, and when it ends."""
    now = detail.new.gpus + (detail.old.gpus if detail.old else 0)
    each = detail.numbers.get("gpus_new")
    if not detail.rollout.is_open or each is None:
        return f"{now} GPUs held now"
    back = Phase(detail.rollout.phase) in (Phase.ABORTING, Phase.ROLLING_BACK)
    if back or detail.rollout.phase == Phase.ROLLBACK_BLOCKED:
        before = detail.numbers.get("old_replicas", 0) * detail.numbers.get("gpus_old", 0)
        return f"{now} GPUs held now; {before} when it is back"
    return f"{now} GPUs held now; {detail.replicas * each} when it ends{next_words(detail)}"


def next_words(detail: RolloutDetail) -> str:
    step = next((s for s in detail.steps if s.state == "next"), None)
    if step is None or step.shadow:
        return ""
    return f". Next: {step.percent} % of the traffic to {detail.new.label}"


def changes_in_words(changes: Sequence[Change]) -> str:
    """ "3 lines, image 0.31.2 to 0.32.0": how many there are, and the first of them."""
    if not changes:
        return ""
    named = [f"{c.name} {c.before or 'not set'} → {c.after or 'not set'}" for c in changes[:NAMED]]
    many = f"{len(changes)} line{'s' * (len(changes) > 1)}"
    return f"{many}, {', '.join(n if len(n) < 60 else n.split(' ')[0] for n in named)}"
