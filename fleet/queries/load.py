"""What a service's number of replicas is decided from: load, room, starts, and who else decides."""

from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet

from fleet.models import (
    TAKES_TRAFFIC,
    Cluster,
    Deployment,
    Drift,
    EngineSample,
    ObservedPod,
    Release,
    Rollout,
    ScalingDecision,
    ScalingPolicy,
    Service,
    TrafficSlot,
)
from fleet.queries.freezes import freeze_of_service
from fleet.queries.gateways import Gateways
from fleet.queries.situations import floor_of, others_of, quotas_of, rooms_of
from fleet.queries.starts import starts_of
from fleet.rules.answers import gpus
from fleet.rules.declared import REPLICAS
from fleet.rules.fit import Need, fit, gpus_of
from fleet.rules.freshness import stale_because
from fleet.rules.gates import arrears
from fleet.rules.groups import pods_by_product, pods_from, shape_from, whole
from fleet.rules.phases import FINAL
from fleet.rules.queue import claims_of
from fleet.rules.scaling import FRESH, GAP, LONGEST_GROWTH, Load, Policy, Room, Sample, Seen
from fleet.rules.schedule import Bounds, hours_from
from fleet.rules.situation import Starts
from fleet.rules.sleep import Quiet, Sleep
from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS
from tenants.base.scope import fleet_scope

ENDED = [phase.value for phase in FINAL]


def rules_of(policy: ScalingPolicy) -> Policy:
    return Policy(
        always=Bounds(policy.min_replicas, policy.max_replicas),
        target=policy.target,
        stable=timedelta(seconds=policy.stable_seconds),
        pause=timedelta(seconds=policy.pause_seconds),
        hours=hours_from(policy.hours),
        zone=policy.zone,
        sleep=Sleep(
            idle=timedelta(seconds=policy.idle_seconds),
            wait=timedelta(seconds=policy.wait_seconds),
            most=policy.max_waiting,
        ),
    )


def seen_of(policy: ScalingPolicy, row: Deployment, gateways: Gateways, now: datetime) -> Seen:
    """Of the release that serves; requests in flight are those of the whole service."""
    service, cluster = row.service, row.cluster
    starts = starts_of(service, row.release)
    rollout = Rollout.objects.filter(service=service).exclude(phase__in=ENDED).first()
    changes = ScalingDecision.objects.filter(service=service, changed=True).order_by("-at")
    changed_at = changes.values_list("at", flat=True).first()
    freeze = freeze_of_service(service, cluster, now)
    return Seen(
        declared=row.replicas,
        serving=whole(
            taking(service).filter(deployment=row).values_list("role", flat=True),
            shape_from(row.release.resources, row.release.roles),
        ),
        load=load_of(service, gateways, now),
        history=history_of(policy, starts, now),
        starts=starts,
        room=room_of(row, cluster),
        floor=floor_of(cluster, service.name, others_only=True) or 0,
        changed_at=changed_at,
        stale=stale_because(cluster.observed_at, cluster.trouble, now),
        owner=owner_of(row),
        rollout=str(rollout) if rollout else "",
        frozen=freeze.window.title if freeze else "",
        quiet=quiet_of(service, gateways, changed_at, now),
        called=is_called(policy),
    )


def taking(service: Service) -> QuerySet[ObservedPod]:
    """Pods that take traffic, of whichever release."""
    return ObservedPod.objects.filter(TAKES_TRAFFIC, deployment__service=service)


def load_of(service: Service, gateways: Gateways, now: datetime) -> Load:
    """Newest words of each engine; what a pod that drains still does ends with it."""
    asked = set(taking(service).values_list("uid", flat=True))
    rows = EngineSample.objects.filter(service=service, at__gte=now - FRESH, at__lte=now)
    newest = rows.filter(pod_uid__in=asked, running__isnull=False).order_by("pod_uid", "-at")
    found = newest.distinct("pod_uid").values_list("running", "waiting")
    return Load(
        running=sum(running or 0.0 for running, _ in found),
        waiting=sum(waiting or 0.0 for _, waiting in found),
        queued=queued_of(service, gateways),
        asked=len(asked),
        answered=len(found),
    )


def queued_of(service: Service, gateways: Gateways) -> float | None:
    """Requests that wait in gateways. A worker names its line at each pool of the service."""
    if gateways.trouble:
        return None
    pools = pools_of(service)
    lines = [[r.queued for p, r in w.pools.items() if p in pools] for w in gateways.workers]
    rooms = sum(w.waking.get(service.pk, 0) for w in gateways.workers)
    return float(sum(max(line, default=0) for line in lines) + rooms)


def pools_of(service: Service) -> set[str]:
    ids = Deployment.objects.filter(service=service).values_list("id", flat=True)
    return {f"d{pk}" for pk in ids}


def quiet_of(
    service: Service, gateways: Gateways, changed_at: datetime | None, now: datetime
) -> Quiet:
    """Since when nobody asked. What was ordered or rolled out lately is not taken away at once."""
    if gateways.trouble:
        return Quiet(in_flight=None)
    pools = pools_of(service)
    ended = Rollout.objects.filter(service=service).aggregate(at=Max("ended_at"))["at"]
    moments = [at for at in (changed_at, ended, last_request(service, now)) if at]
    spools = [(w.worker, w.spool_events, w.spool_oldest_seconds) for w in gateways.workers]
    return Quiet(
        since=max(moments, default=None),
        in_flight=sum(
            r.in_flight for w in gateways.workers for p, r in w.pools.items() if p in pools
        ),
        late=arrears(spools),
    )


def last_request(service: Service, now: datetime) -> datetime | None:
    """When the last one ended that an engine answered or should have answered, to 10 s; hours ago
    to 5 min. Whoever may not use the service keeps nothing awake.
    """
    with fleet_scope():
        for resolution in (GATE_SECONDS, DASHBOARD_SECONDS):
            rows = TrafficSlot.objects.filter(service_id=service.pk, seconds=resolution)
            last: datetime | None = rows.exclude(outcome="rejected").aggregate(at=Max("slot"))["at"]
            if last is not None:
                return min(last + timedelta(seconds=resolution), now)
    return None


def is_called(policy: ScalingPolicy) -> bool:
    """A person wakes it, since it fell asleep."""
    called, slept = policy.called_at, policy.slept_at
    return bool(called and slept and called >= slept)


def history_of(policy: ScalingPolicy, starts: Starts, now: datetime) -> tuple[Sample, ...]:
    stable, lag = timedelta(seconds=policy.stable_seconds), timedelta(seconds=starts.p95 or 0)
    since = now - max(stable, lag, LONGEST_GROWTH) - 2 * GAP
    rows = ScalingDecision.objects.filter(service=policy.service_id, at__gte=since, at__lt=now)
    rows = rows.filter(demand__isnull=False).order_by("at")
    return tuple(Sample(at, demand or 0.0) for at, demand in rows.values_list("at", "demand"))


def room_of(row: Deployment, cluster: Cluster) -> Room:
    """Beside open rollouts and replicas of all services that are ordered and not placed yet."""
    needs = needs_for(row.release, 1)
    claims = claims_of(other for _, other in others_of(cluster, row.service))
    nodes, claims = rooms_of(cluster, None), [*claims, *unplaced(cluster)]
    rooms = [(need.product, fit(nodes, need, claims)) for need in needs]
    scarce, found = min(rooms, key=lambda room: room[1].places)
    claimed = f", {found.claimed} of them claimed already" if found.claimed else ""
    words = f"{found.free} {gpus(scarce)} are free{claimed}"
    one, places = gpus_of(needs), found.places
    quotas = quotas_of(cluster, row.service.name, list(one)) or ()
    quota = min(quotas, key=lambda q: (q.free // q.of(one), q.name), default=None)
    if quota is not None and quota.free // quota.of(one) < places:
        places = quota.free // quota.of(one)
        words = f"The quota {quota.name} leaves {quota.free} of {quota.hard} GPUs"
    return Room(places, words, one.total(), scarce if len(needs) == 1 else "")


def needs_for(release: Release, replicas: int) -> list[Need]:
    """One for each GPU product of a replica's pods."""
    found = pods_by_product(release.resources, release.roles)
    one = sum(map(len, found.values())) == 1
    return [Need(p, sum(pods), replicas, () if one else pods) for p, pods in found.items()]


def unplaced(cluster: Cluster) -> list[Need]:
    bound = Count("pods", filter=Q(pods__terminating=False, pods__node__gt=""))
    rows = Deployment.objects.filter(cluster=cluster, replicas__gt=0).select_related("release")
    found = []
    for row in rows.annotate(bound=bound):
        pods = pods_from(row.release.resources, row.release.roles)
        if (missing := row.replicas - row.bound // len(pods)) > 0:
            found += needs_for(row.release, missing)
    return found


def owner_of(row: Deployment) -> str:
    """Who else wrote the number of replicas, as the observer found it. Empty: nobody."""
    drifts = Drift.objects.filter(deployment=row, ended_at=None, path=REPLICAS)
    drift = drifts.filter(wish="").first()
    return owner_words(drift.manager, owned=drift.owned, replicas=drift.live) if drift else ""


def owner_words(manager: str, *, owned: bool, replicas: object) -> str:
    if owned:
        return (
            f"An autoscaler ({manager}) owns the number of replicas, {replicas} now: take its"
            " HorizontalPodAutoscaler or ScaledObject away, or this policy"
        )
    by = manager or "Somebody"
    return f"{by} set {replicas} replicas by hand: adopt or repair that first"
