"""What a rollout that supersedes an open one will find once that one has gone back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fleet.models import ObservedPod, Release, Rollout
from fleet.queries.rollouts import rollouts
from fleet.rules.fit import Need, NodeRoom
from fleet.rules.phases import FINAL, Phase
from fleet.rules.queue import Ahead
from fleet.rules.situation import Situation, StepPlan
from tenants.rules.access import Viewer


def open_rollout(viewer: Viewer, service_id: int) -> Rollout | None:
    """The one of this service that would be aborted for another."""
    rows = rollouts(viewer).exclude(phase__in=[p.value for p in FINAL])
    return rows.filter(service=service_id, waits=False).first()


def after_end_of(rollout: Rollout, s: Situation, steps: Sequence[StepPlan] | None) -> Situation:
    """Its new release holds no GPUs any more, the old one its own again. Where the old one does not
    come back, nothing is there to compare with: the usual steps fall away.
    """
    before = rollout.plan["numbers"]["old_replicas"]
    missing = before - placed(rollout, rollout.from_release, s)
    needs = tuple(Need(p, each, missing) for p, each in s.exchange.old.items())
    own = [Ahead(f"the way back of {rollout}", needs, began=False)] if missing > 0 else []
    blocked = rollout.phase == Phase.ROLLBACK_BLOCKED
    return replace(
        s,
        old_replicas=before,
        nodes=without(rollout, s.nodes),
        ahead=[*s.ahead, *own],
        steps=() if blocked and steps is None else s.steps,
    )


def placed(rollout: Rollout, release: Release | None, s: Situation) -> int:
    """Its whole replicas that hold their GPUs."""
    if release is None:
        return 0
    rows = ObservedPod.objects.filter(cluster=rollout.cluster_id, release=release.fingerprint)
    return rows.exclude(node="").count() // max(len(s.pods_old), 1)


def without(rollout: Rollout, nodes: Sequence[NodeRoom]) -> list[NodeRoom]:
    """The nodes as they are when the new release of that rollout has left them."""
    held: Counter[str] = Counter()
    name = rollout.to_release.fingerprint
    pods = ObservedPod.objects.filter(cluster=rollout.cluster_id, release=name).exclude(node="")
    for node, gpus in pods.values_list("node", "gpus"):
        held[node] += gpus
    return [replace(node, used=max(node.used - held[node.name], 0)) for node in nodes]
