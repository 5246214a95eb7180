"""What a plan is computed from, read from rows: nodes, quotas, budgets, starts, recent traffic."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db.models import Sum
from django.db.models.functions import Now
from django.utils import timezone

from fleet.models import (
    Cluster,
    Deployment,
    Node,
    ObservedPod,
    Release,
    Rollout,
    Service,
    TrafficSlot,
)
from fleet.queries.peak import peak_of
from fleet.queries.prefetch import will_fetch
from fleet.queries.releases import spec_of
from fleet.queries.starts import ground_of, place_of, starts_like, starts_of
from fleet.rules import kueue
from fleet.rules.answers import Quota
from fleet.rules.begins_within import read_begins
from fleet.rules.capacity import mix_of
from fleet.rules.fit import Need, NodeRoom
from fleet.rules.manifests import ROLE, labels_of
from fleet.rules.phases import FINAL, Phase
from fleet.rules.queue import Ahead, waits
from fleet.rules.release import GPU, SERVE, ReleaseSpec
from fleet.rules.situation import Situation, Starts, StepPlan
from fleet.rules.topology import CLIQUE, together
from fleet.rules.traffic import DASHBOARD_SECONDS
from tenants.base.scope import fleet_scope
from tenants.queries.changes import undecided
from tenants.queries.tenants import tenants_by_id
from tenants.rules.access import Viewer

NOT_STARTED = (Phase.VALIDATING, Phase.AWAITING_APPROVAL, Phase.PREPARING)
RECENT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Touched:
    """A tenant and a traffic class that used the service in the last hour."""

    tenant_id: int
    tenant: str
    traffic_class: str
    requests: int


def situation_of(
    service: Service,
    cluster: Cluster,
    old: Release | None,
    new: Release,
    placed: Deployment | None,
    *,
    replicas: int,
    steps: Sequence[StepPlan],
    soak_seconds: int,
    requests_an_hour: int,
) -> Situation:
    """`placed`: the old release in this cluster."""
    spec, before = spec_of(new), spec_of(old) if old else None
    rooms, seen = rooms_of(cluster, old), starts_like(filter(None, (old, new)))
    ground = ground_of(cluster, seen)
    fetched = will_fetch(service, cluster)
    return Situation(
        product=spec.product,
        gpus_new=spec.gpus,
        gpus_old=(before or spec).gpus,
        replicas=replicas,
        old_replicas=placed.replicas if placed else 0,
        nodes=rooms,
        ahead=[other for _, other in others_of(cluster, service)],
        quotas=quotas_of(cluster, service.name, spec.products),
        queue_unread=bool(cluster.kueue and not cluster.kueue["readable"]),
        floor=in_replicas(floor_of(cluster, service.name), before or spec),
        requests_an_hour=requests_an_hour,
        starts_new=starts_of(
            service, new, place_of(ground, new, spec, rooms, fetched=fetched), seen
        ),
        starts_old=(
            starts_of(service, old, place_of(ground, old, before, rooms, runs=True), seen)
            if old and before
            else Starts()
        ),
        grace_seconds=(before or spec).probes.grace_seconds,
        steps=steps,
        soak_seconds=soak_seconds,
        pods_new=spec.gpus_of_pods if spec.shape else (),
        pods_old=(before or spec).gpus_of_pods,
        mixed_new=spec.pods_by_product if spec.is_mixed else {},
        mix_old=mix_of((before or spec).pods_by_product),
        peak=peak_of(service, [r for r in (old, new) if r], timezone.now()),
        together=cliques_of(spec),
    )


def cliques_of(spec: ReleaseSpec) -> int:
    """Pods of an engine that have to be in one fabric clique; of roles it is not counted."""
    own = spec.resources
    return together(own) if own.topology == CLIQUE and not spec.roles else 0


def needs_of(numbers: Mapping[str, Any]) -> tuple[Need, ...]:
    """What a rollout takes on top, from its frozen numbers; those of before knew one product."""
    if not numbers:
        return ()
    if kept := numbers.get("needs"):
        return tuple(Need(**{**one, "pods": tuple(one["pods"])}) for one in kept)
    pods = tuple(numbers.get("pods_new", ()))
    return (Need(numbers["product"], numbers["gpus_new"], numbers["surge"], pods),)


def takes_on_top(numbers: Mapping[str, Any]) -> bool:
    return any(need.replicas for need in needs_of(numbers))


def in_replicas(floor: int | None, spec: ReleaseSpec) -> int | None:
    """Budgets count pods."""
    return None if floor is None else ceil(floor / len(spec.gpus_of_pods))


def rooms_of(cluster: Cluster, leaving: Release | None) -> list[NodeRoom]:
    held: Counter[str] = Counter()
    if leaving:
        pods = ObservedPod.objects.filter(cluster=cluster, release=leaving.fingerprint)
        for node, gpus in pods.exclude(node="").values_list("node", "gpus"):
            held[node] += gpus
    return [
        NodeRoom(
            name=node.name,
            product=node.gpu_product,
            allocatable=node.gpus_allocatable,
            used=node.gpus_used,
            usable=node.ready and not node.cordoned and not any(map(_repels, node.taints)),
            clique=node.clique,
            leaving=min(held[node.name], node.gpus_used),
        )
        for node in Node.objects.filter(cluster=cluster).order_by("name")
    ]


def _repels(taint: dict[str, str]) -> bool:
    """Whether our pods do not tolerate it; a taint for GPUs they do."""
    return taint.get("key") != GPU and taint.get("effect") in ("NoSchedule", "NoExecute")


def others_of(cluster: Cluster, service: Service) -> list[tuple[Rollout, Ahead]]:
    """Open rollouts of other services that were planned with GPUs on top, the oldest first.

    One that may not begin before a stated time holds nobody up until then.
    """
    now = timezone.now()
    rows = Rollout.objects.filter(cluster=cluster).exclude(phase__in=[p.value for p in FINAL])
    rows = rows.exclude(service=service).select_related("service").order_by("id")
    found = []
    for row in rows.only("phase", "plan", "change_id", "started_at", "service__name"):
        if takes_on_top(row.plan.get("numbers", {})) and not is_later(row, now):
            found.append((row, ahead_of(row)))
    return found


def ahead_of(row: Rollout) -> Ahead:
    """With when it is expected to end, as its plan said."""
    seconds = row.plan.get("plan", {}).get("finish_seconds")
    takes = None if seconds is None else timedelta(seconds=seconds)
    return Ahead(
        f"{row} of {row.service.name}",
        needs_of(row.plan["numbers"]),
        Phase(row.phase) not in NOT_STARTED,
        ends=row.started_at + takes if row.started_at and takes is not None else None,
        takes=takes,
    )


def is_later(row: Rollout, now: datetime) -> bool:
    begins = read_begins(row.plan)
    return bool(begins and begins.is_early(now)) and Phase(row.phase) in NOT_STARTED


def queued(rollout: Rollout) -> str:
    """Why an approved rollout does not begin yet. Before it come those that began, and older
    ones that are approved; a way back waits for nobody.
    """
    if rollout.is_rollback:
        return ""
    waiting = undecided()
    ahead = [
        other
        for row, other in others_of(rollout.cluster, rollout.service)
        if other.began or (row.pk < rollout.pk and row.change_id not in waiting)
    ]
    needs, nodes = needs_of(rollout.plan["numbers"]), rooms_of(rollout.cluster, None)
    products = [need.product for need in needs]
    quotas = quotas_of(rollout.cluster, rollout.service.name, products) or ()
    return waits(nodes, needs, quotas, ahead) if ahead else ""


def quotas_of(cluster: Cluster, service: str, products: Sequence[str]) -> list[Quota] | None:
    """Of the namespace, and of the service's queue where the cluster has Kueue, which tells GPU
    products apart.

    None: the observer may not read them, or has not looked yet.
    """
    if cluster.quotas is None:
        return None
    found = [Quota(**row) for row in cluster.quotas]
    for product in products:
        own = kueue.quotas_of(cluster.kueue, service, product)
        found += [replace(q, product=product) for q in own] if len(products) > 1 else own
    return found


def floor_of(cluster: Cluster, service: str, *, others_only: bool = False) -> int | None:
    """The greatest number of answering replicas that a budget over all of them wants.

    Our own budget follows the number of replicas: `others_only` leaves it out.
    """
    ours = (labels_of(service) | {ROLE: SERVE}).items()
    budgets = [b for b in cluster.budgets or () if not (others_only and b["name"] == service)]
    floors = [b["floor"] for b in budgets if b["labels"].items() <= ours]
    return max(floors, default=None)


def touched_by(viewer: Viewer, service: Service) -> tuple[Touched, ...]:
    """Who used the service in the last hour, those with the most requests first."""
    with fleet_scope():
        rows = TrafficSlot.objects.filter(
            seconds=DASHBOARD_SECONDS, service_id=service.pk, slot__gte=Now() - RECENT
        )
        sums = rows.values_list("tenant_id", "traffic_class").annotate(n=Sum("requests"))
        found = sorted(sums, key=lambda row: (-row[2], row[0], row[1]))
    names = tenants_by_id(viewer, [tenant for tenant, _, _ in found])
    return tuple(
        Touched(tenant, names[tenant].slug if tenant in names else f"tenant {tenant}", kind, n)
        for tenant, kind, n in found
    )
