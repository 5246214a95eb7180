"""The way back of a rollout as lines for a shell, from what is kept and wanted now."""

from typing import Any

from django.db.models import Q

from fleet.models import Deployment, Release, Rollout
from fleet.queries.releases import spec_of
from fleet.queries.rollouts import find_rollout, rollouts
from fleet.rules.by_hand import Hand, lines_back
from fleet.rules.capacity import Gpus
from fleet.rules.manifests import Manifest, render, workload
from fleet.rules.phases import BEFORE_WRITES, FINAL, Phase
from tenants.errors import Conflict, NotFound
from tenants.rules.access import Viewer


def way_back_by_hand(viewer: Viewer, rollout: int | Rollout) -> tuple[str, ...]:
    """Raise `Conflict` where there is nothing to go back from."""
    found = find_rollout(viewer, rollout)
    refuse(found)
    return tuple(lines_back(hand_of(found)))


def of_service(viewer: Viewer, name: str) -> Rollout:
    """What a rescue of this service goes back from: the rollout that is under way, else the last
    good one. What has not begun changed nothing.
    """
    rows = rollouts(viewer).filter(service__name=name)
    if not rows.exists():
        raise NotFound(f"There was no rollout of a service {name!r}")
    good = rows.filter(phase=Phase.SUCCEEDED.value)
    begun = rows.exclude(phase__in=FINAL | BEFORE_WRITES).filter(
        Q(waits=False) | Q(is_rollback=True)
    )
    found = begun.first() or good.first()
    if found is None:
        raise Conflict(f"No rollout of {name} is open and none succeeded: nothing to go back from")
    return found


def not_begun(viewer: Viewer, service_id: int) -> tuple[Rollout, ...]:
    """Proposals of this service, which a new way back would be the second beside."""
    return tuple(rollouts(viewer).filter(service=service_id, phase__in=BEFORE_WRITES))


def refuse(rollout: Rollout) -> None:
    phase = Phase(rollout.phase)
    if phase in BEFORE_WRITES:
        raise Conflict(f"{rollout} is {phase}: nothing was written to the cluster, abort it")
    if phase in FINAL and phase is not Phase.SUCCEEDED:
        raise Conflict(f"{rollout} ended as {phase}: there is nothing to go back from")
    if phase is Phase.SUCCEEDED and rollout.service.current_release_id != rollout.to_release_id:
        now = rollout.service.current_release
        raise Conflict(f"{rollout} is not the last word on {rollout.service}: {now} serves now")


def hand_of(r: Rollout) -> Hand:
    """An open way back is finished; everything else is undone."""
    forward = r.is_rollback and Phase(r.phase) not in FINAL
    bad, good = (r.from_release, r.to_release) if forward else (r.to_release, r.from_release)
    assert bad is not None  # a way back starts from a release
    numbers = r.plan["numbers"]
    before = numbers["old_replicas"] or r.service.replicas
    mix_new, mix_old, budget = gpus_of(numbers, before, r.replicas)
    rows = {d.release_id: d for d in Deployment.objects.filter(service=r.service_id)}
    now = {pk: d.replicas for pk, d in rows.items()}
    return Hand(
        title=str(r),
        service=r.service.name,
        new=manifest_of(r, bad, rows),
        old=manifest_of(r, good, rows) if good else None,
        old_label=str(good) if good else "",
        new_label=str(bad),
        old_wanted=r.replicas if forward else before,
        old_now=now.get(good.pk, 0) if good else 0,
        new_now=now.get(bad.pk, 0),
        mix_old=mix_new if forward else mix_old,
        mix_new=mix_old if forward else mix_new,
        gpu_budget=budget,
        fence=r.fence,
    )


def gpus_of(numbers: dict[str, Any], before: int, after: int) -> tuple[Gpus, Gpus, Gpus]:
    """Of a replica, new and old, and of both releases together; rollouts from before plans told
    products apart know their number.
    """
    if numbers.get("mixes"):
        new, old = numbers["mixes"]
        return new, old, numbers["budget"]
    each, was = numbers["gpus_new"], numbers["gpus_old"]
    budget = max(before * was + numbers["surge"] * each, after * each)
    return {"": each}, {"": was}, {"": budget}


def manifest_of(r: Rollout, release: Release, rows: dict[int, Deployment]) -> Manifest:
    """As placed, as approved, or as it would be rendered now."""
    if (row := rows.get(release.pk)) and row.manifest:
        placed: Manifest = row.manifest
        return placed
    made = r.manifests if release.pk == r.to_release_id else []
    if not made:
        release.service = r.service  # the same, known already
        place = r.cluster.namespace, r.service.max_model_len, r.cluster.group_sets
        made = render(spec_of(release), *place)
    return workload(made)
