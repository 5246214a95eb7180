"""What differs from the declared state: kept as it is seen, ended by what people choose.

The observer writes what it saw. People choose between the declared state (repair) and what runs
(adopt, of replicas; other content becomes a release, see `adoption`); the drive does it with the
cluster.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from fleet.models import Cluster, Deployment, Drift, Rollout, Service
from fleet.rules.around import KINDS, Key, around_of, key_of, object_in, seen_around
from fleet.rules.declared import REPLICAS, Difference, differences, missing
from fleet.rules.manifests import ROLE, SERVICE, deployments_of, placed
from fleet.rules.phases import FINAL
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

KEEP = "fleet.tasks.keep_deployment"
LONGEST_PATH = 300
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Around:
    """Other objects than Deployments, as the API server gave them; `watched` are their kinds."""

    found: Iterable[Json] = ()
    watched: Collection[str] = ()
    live: dict[Key, Json] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", {key_of(item): item for item in self.found})


def store_drift(
    cluster: Cluster, live: Iterable[Json], now: datetime, around: Around | None = None
) -> None:
    """Open, refresh and end the rows of a whole cluster; the caller's transaction holds it."""
    found = {d["metadata"]["name"]: d for d in live if SERVICE in d["metadata"].get("labels", {})}
    around = around or Around()
    unseen = KINDS - set(around.watched)
    busy = moving(cluster)
    known: dict[int, list[Drift]] = defaultdict(list)
    for drift in Drift.objects.filter(deployment__cluster=cluster, ended_at=None):
        if (object_in(drift.path) or ("",))[0] not in unseen:
            known[drift.deployment_id].append(drift)
    rows = Deployment.objects.filter(cluster=cluster).exclude(manifest={})
    there: list[int] = []
    placed = rows.annotate(of=F("service__name"), serving=F("service__current_release"))
    for row in placed.only("name", "manifest", "replicas", "fence", "service_id", "release_id"):
        moves = row.service_id in busy
        seen = seen_of(row, found, moves)
        declared = around_of(row.manifest, row.of, serves=row.serving == row.release_id)
        stays = bool(row.replicas) and not moves
        beside = seen_around(declared, around.live, around.watched, there=stays)
        store_one(row, {d.path: d for d in known[row.pk]}, (*seen, *beside), now)
        if not row.replicas and found.keys() & names_in(row.manifest):
            there.append(row.pk)
    over = rows.filter(pk__in=there).exclude(service__in=busy)
    for pk in over.exclude(service__current_release=F("release")).values_list("pk", flat=True):
        nudge(KEEP, pk)  # it takes away what is over; asked for with each look until it is gone


def moving(cluster: Cluster) -> set[int]:
    """Services whose rollout looks after replicas and Deployments itself."""
    ended = [phase.value for phase in FINAL]
    rows = Rollout.objects.filter(cluster=cluster).exclude(phase__in=ended)
    return set(rows.values_list("service_id", flat=True))


def names_in(manifest: dict[str, Any]) -> set[str]:
    return {d["metadata"]["name"] for d in deployments_of(manifest)}


def seen_of(row: Deployment, found: Mapping[str, Json], moves: bool) -> tuple[Difference, ...]:
    """Of each Deployment; where a release has several, the path begins with the role."""
    items = deployments_of(row.manifest)
    seen: list[Difference] = []
    for item in items:
        meta = item["metadata"]
        of_it = seen_of_one(row, item, found.get(meta["name"]), moves)
        seen += [d.of(meta["labels"][ROLE]) for d in of_it] if len(items) > 1 else of_it
    return tuple(seen)


def seen_of_one(
    row: Deployment, manifest: dict[str, Any], live: Json | None, moves: bool
) -> tuple[Difference, ...]:
    declared = placed(manifest, replicas=row.replicas, fence=row.fence)
    if live is None:
        return () if moves or not row.replicas else (missing(declared),)
    if "deletionTimestamp" in live["metadata"] and not row.replicas:
        return ()
    found = differences(declared, live)
    return tuple(d for d in found if not (moves and d.is_replicas))


def store_one(
    row: Deployment, known: dict[str, Drift], seen: Sequence[Difference], now: datetime
) -> None:
    """`known` are the open ones by path. Of paths that are alike as far as they are kept, one."""
    for path, difference in {d.text[:LONGEST_PATH]: d for d in seen}.items():
        drift = known.pop(path, None)
        fields = fields_of(difference) | {"seen_at": now}
        if drift is None:
            Drift.objects.create(deployment=row, path=path, found_at=now, **fields)
        else:
            changed = {"adopted_as": None} if drift.live != difference.live else {}
            Drift.objects.filter(pk=drift.pk).update(**fields, **changed)
    if gone := [d.pk for d in known.values()]:
        Drift.objects.filter(pk__in=gone).update(ended_at=now, trouble="")


def fields_of(d: Difference) -> dict[str, Any]:
    return {
        "declared": d.declared,
        "live": d.live,
        "manager": d.writer.manager[:128],
        "operation": d.writer.operation[:32],
        "written_at": d.writer.at,
        "owned": d.owned,
    }


@transaction.atomic
def repair(viewer: Viewer, deployment_id: int, *, why: str) -> Deployment:
    """The declared state again, over whoever changed it. What an autoscaler owns stays its own."""
    row, drifts = chosen(viewer, deployment_id, why)
    mine = drifts.filter(owned=False)
    if not mine.exists():
        raise Conflict(
            f"An autoscaler owns the replicas of {row}: take its HorizontalPodAutoscaler or"
            " ScaledObject away first, the console does not fight it"
        )
    wish(viewer, mine, Drift.Wish.REPAIR, why)
    record(viewer, "deployment.repair", row, before=facts(mine, "live"), after=facts(mine), why=why)
    nudge(KEEP, row.pk)
    return row


@transaction.atomic
def adopt(viewer: Viewer, deployment_id: int, *, replicas: int, why: str) -> Deployment:
    """Declare the number of replicas that runs, as the viewer saw it. Nothing else is adopted."""
    row, drifts = chosen(viewer, deployment_id, why)
    drift = drifts.filter(path=REPLICAS).first()
    refuse_adoption(row, drift, replicas)
    before = {"replicas": row.replicas}
    if row.service.current_release_id == row.release_id:
        Service.objects.get(pk=row.service_id).change(None, replicas=replicas)
    wish(viewer, drifts.filter(path=REPLICAS), Drift.Wish.ADOPT, why)
    after = {"replicas": replicas, "manager": drift.manager if drift else ""}
    record(viewer, "deployment.adopt", row, before=before, after=after, why=why)
    nudge(KEEP, row.pk)
    return row


def refuse_adoption(row: Deployment, drift: Drift | None, replicas: int) -> None:
    if drift is None:
        raise Conflict(
            f"{row} has as many replicas as declared. Other content of it is what was approved as"
            f" {row.release}: adopt it as a new release and roll that out, or repair this one"
        )
    if drift.owned:
        raise Conflict(f"An autoscaler owns the replicas of {row}: they are its own already")
    if drift.live != replicas:
        raise Conflict(f"{row} has {drift.live} replicas now, not {replicas}: look again")
    if not replicas:
        raise Conflict(f"Nothing would serve: {row} cannot be adopted with 0 replicas")


def chosen(viewer: Viewer, deployment_id: int, why: str) -> tuple[Deployment, QuerySet[Drift]]:
    viewer.require(Permission.PROPOSE)
    rows = Deployment.objects.select_related("service", "release", "cluster")
    row = rows.filter(pk=deployment_id).first()
    if row is None:
        raise NotFound("There is no such deployment")
    if not why.strip():
        raise Invalid(why="Say why: the reason is kept with the change")
    if row.service_id in moving(row.cluster):
        raise Conflict(f"A rollout of {row.service} is open: it looks after {row} until it ends")
    drifts = Drift.objects.filter(deployment=row, ended_at=None)
    if not drifts.exists():
        raise Conflict(f"{row} runs as declared: there is nothing to decide")
    return row, drifts


def wish(viewer: Viewer, drifts: QuerySet[Drift], wanted: Drift.Wish, why: str) -> None:
    by = {"wish_by": viewer.email, "wish_why": why.strip()}
    drifts.update(wish=wanted.value, trouble="", adopted_as=None, **by)


def facts(drifts: QuerySet[Drift], side: str = "declared") -> dict[str, Any]:
    return dict(drifts.order_by("path").values_list("path", F(side)))
