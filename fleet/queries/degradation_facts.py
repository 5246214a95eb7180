"""The facts that causes are ranked by, for all tenants. For the job, in the fleet's scope."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Q

from fleet.models import Deployment, Node, ObservedPod, Release, Rollout, Service
from fleet.queries.engines import pressure
from fleet.queries.sums import Part, Sums, load, total
from fleet.rules.degradation.facts import (
    Consumer,
    Engines,
    Facts,
    Move,
    QuotaChange,
    ReleaseTraffic,
    Replicas,
    Traffic,
)
from fleet.rules.degradation.quotas import read_change
from fleet.rules.degradation.symptoms import find_misses
from fleet.rules.groups import shape_from, whole
from fleet.rules.objectives import objective_of
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase
from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS
from tenants.queries.audit import AuditFilter, list_events
from tenants.queries.directory import tenant_refs
from tenants.rules.access import system_viewer

WINDOW = timedelta(minutes=3)
BEFORE = timedelta(minutes=45)  # how far back the window begins that now is compared with
APART = timedelta(minutes=10)  # and how long before now it ends
MOVED_LATELY = timedelta(minutes=30)
CHANGED_LATELY = timedelta(hours=2)


def gather(now: datetime) -> list[Facts]:
    """Facts of everybody who misses something now; what is well costs two queries."""
    parts = load(GATE_SECONDS, now - WINDOW, now + timedelta(seconds=GATE_SECONDS))
    services = {s.pk: s for s in Service.objects.filter(pk__in={p[1] for p in parts})}
    names = {pk: ref.slug for pk, ref in tenant_refs({p[0] for p in parts}).items()}
    missing = [
        facts
        for key in sorted({p[:3] for p in parts})
        if key[1] in services and find_misses(facts := _first(key, parts, services, names, now))
    ]
    return _with_background(missing, parts, services, names, now)


def _first(
    key: tuple[int, int, str],
    parts: dict[Part, Sums],
    services: dict[int, Service],
    names: dict[int, str],
    now: datetime,
) -> Facts:
    tenant_id, service_id, traffic_class = key
    service = services[service_id]
    return Facts(
        tenant_id=tenant_id,
        tenant=names.get(tenant_id, str(tenant_id)),
        service=service.name,
        traffic_class=traffic_class,
        objective=objective_of(service.objectives, traffic_class),
        at=now,
        now=_traffic([sums for part, sums in parts.items() if part[:3] == key]),
    )


def _traffic(parts: Iterable[Sums], over: timedelta = WINDOW) -> Traffic:
    return total(parts).traffic(over.total_seconds())


def _with_background(
    missing: Sequence[Facts],
    parts: dict[Part, Sums],
    services: dict[int, Service],
    names: dict[int, str],
    now: datetime,
) -> list[Facts]:
    if not missing:
        return []
    ids = {s.name: pk for pk, s in services.items()}
    hurt = {ids[facts.service] for facts in missing}
    before = load(DASHBOARD_SECONDS, now - BEFORE, now - APART, hurt)
    engines = pressure(hurt, now - WINDOW, now)
    moves, replicas = load_moves(hurt, now), load_replicas(hurt)
    labels = {
        pk: f"r{n}"
        for pk, n in Release.objects.filter(service__in=hurt).values_list("id", "number")
    }
    changes = load_quota_changes({facts.tenant_id for facts in missing}, now)
    found = []
    for facts in missing:
        service_id = ids[facts.service]
        here = {p: sums for p, sums in parts.items() if p[1] == service_id}
        key = (facts.tenant_id, service_id, facts.traffic_class)
        found.append(
            replace(
                facts,
                before=_traffic([s for p, s in before.items() if p[:3] == key], BEFORE - APART),
                releases=_by_release(here, labels),
                service_now=_traffic(here.values()),
                engines=engines.get(service_id, Engines()),
                moves=tuple(moves.get(service_id, ())),
                replicas=replicas.get(service_id, Replicas()),
                consumers=_consumers(service_id, here, before, names),
                quota_changes=tuple(changes.get(facts.tenant_id, ())),
            )
        )
    return found


def _by_release(here: dict[Part, Sums], labels: dict[int, str]) -> tuple[ReleaseTraffic, ...]:
    return tuple(
        ReleaseTraffic(
            release_id,
            labels.get(release_id, ""),
            _traffic([sums for part, sums in here.items() if part[3] == release_id]),
        )
        for release_id in sorted({part[3] for part in here})
    )


def _consumers(
    service_id: int, here: dict[Part, Sums], before: dict[Part, Sums], names: dict[int, str]
) -> tuple[Consumer, ...]:
    per_minute = {
        True: WINDOW / timedelta(minutes=1),
        False: (BEFORE - APART) / timedelta(minutes=1),
    }
    rates: dict[tuple[int, str], list[float]] = {}
    for parts, is_now in ((here, True), (before, False)):
        for (tenant_id, at, traffic_class, _), sums in parts.items():
            if at == service_id:
                rate = rates.setdefault((tenant_id, traffic_class), [0.0, 0.0])
                rate[0 if is_now else 1] += sums.tokens / per_minute[is_now]
    return tuple(
        Consumer(tenant_id, names.get(tenant_id, str(tenant_id)), traffic_class, now, earlier)
        for (tenant_id, traffic_class), (now, earlier) in sorted(rates.items())
    )


def load_moves(service_ids: Iterable[int], now: datetime) -> dict[int, list[Move]]:
    """Rollouts that write to the cluster, or did until lately."""
    ended = [phase.value for phase in FINAL]
    waiting = [phase.value for phase in BEFORE_WRITES]
    under_way = ~Q(phase__in=[*ended, *waiting])
    rows = Rollout.objects.filter(under_way | Q(ended_at__gte=now - MOVED_LATELY))
    rows = rows.filter(service__in=list(service_ids)).exclude(started_at=None)
    found: dict[int, list[Move]] = {}
    for row in rows.select_related("to_release", "from_release").order_by("id"):
        found.setdefault(row.service_id, []).append(
            Move(
                id=row.pk,
                phase=row.phase,
                is_open=row.phase not in ended,
                goes_back=Phase(row.phase) in GOING_BACK,
                to_release_id=row.to_release_id,
                to_release=str(row.to_release),
                from_release=str(row.from_release) if row.from_release else "",
                since=row.started_at or row.created_at,
                ended_at=row.ended_at,
            )
        )
    return found


def load_replicas(service_ids: Iterable[int]) -> dict[int, Replicas]:
    rows = Deployment.objects.filter(service__in=list(service_ids))
    wanted: dict[int, int] = {}
    shapes: dict[int, dict[int, dict[str, int]]] = {}
    of_release = ("release__resources", "release__roles")
    for pk, service_id, replicas, *parts in rows.values_list(
        "pk", "service_id", "replicas", *of_release
    ):
        wanted[service_id] = wanted.get(service_id, 0) + replicas
        shapes.setdefault(service_id, {})[pk] = shape_from(*parts)
    pods = list(
        ObservedPod.objects.filter(deployment__in=rows)
        .select_related("deployment")
        .order_by("name")
    )
    lost = dict(
        Node.objects.filter(ready=False, cluster__in={p.cluster_id for p in pods}).values_list(
            "name", "trouble"
        )
    )
    found = {}
    for service_id, replicas in wanted.items():
        own = [p for p in pods if p.deployment and p.deployment.service_id == service_id]
        takes = [p for p in own if p.ready and p.admitted and not p.terminating]
        serving = sum(
            whole((p.role for p in takes if p.deployment_id == pk and p.node not in lost), shape)
            for pk, shape in shapes[service_id].items()
        )
        found[service_id] = Replicas(replicas, serving, _troubles(own, lost))
    return found


def _troubles(pods: Sequence[ObservedPod], lost: dict[str, str]) -> tuple[str, ...]:
    nodes = sorted({p.node for p in pods if p.node in lost})
    told = [f"node {name} is not ready" for name in nodes]
    told += [f"{p.name}: {p.reason}" for p in pods if p.reason and p.node not in lost]
    failing = [p for p in pods if p.probe_failures and not p.reason and p.node not in lost]
    return (*told, *(f"{p.name}: {p.probe}" for p in failing))


def load_quota_changes(tenant_ids: set[int], now: datetime) -> dict[int, list[QuotaChange]]:
    wanted = AuditFilter(verb="quota", since=now - CHANGED_LATELY)
    rows = list_events(system_viewer("degradation"), wanted).filter(tenant_id__in=tenant_ids)
    found: dict[int, list[QuotaChange]] = {}
    for row in rows:
        change = read_change(row.at, row.actor, row.before, row.after)
        if change and row.tenant_id is not None:
            found.setdefault(row.tenant_id, []).append(change)
    return found
