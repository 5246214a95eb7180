"""Do with one Deployment what a person chose about its drift."""

from collections.abc import Iterable

from django.db import transaction

from fleet.clients.errors import ClientError, Permanent
from fleet.clients.kube import Json
from fleet.clients.workloads import Workloads
from fleet.drive.place import owned
from fleet.models import Deployment, Drift, Rollout
from fleet.rules.around import BUDGET, Key, around_of, key_of, object_in
from fleet.rules.declared import REPLICAS, Difference, Step, as_live, differences, released, removal
from fleet.rules.manifests import FILES, Manifest, deployments_of, items_of, placed, selector_of
from fleet.rules.members import LEADER_WORKER_SET
from fleet.rules.seen import release_of
from tenants.base.scope import fleet_scope

PATH = (Step("spec"), Step("replicas"))


def wished(deployment_id: int) -> Drift | None:
    rows = Drift.objects.filter(deployment=deployment_id, ended_at=None).exclude(wish="")
    return rows.order_by("id").first()


def undecided_replicas(deployment_id: int) -> bool:
    """Somebody else's number of replicas waits for a person, or belongs to an autoscaler."""
    rows = Drift.objects.filter(deployment=deployment_id, ended_at=None, wish="")
    return rows.filter(path__endswith=REPLICAS).exists()


def settle(row: Deployment, drift: Drift, workloads: Workloads, look: Json) -> None:
    """Repair or adopt; the observer ends the rows once the cluster is as declared."""
    deployments = look["deployments"]
    found = [d for d in deployments if release_of(d) == row.release.fingerprint]
    try:
        if drift.wish == Drift.Wish.ADOPT and found:
            take_over(row, drift, workloads, found[0])
        else:
            live = {d["metadata"]["name"]: d for d in found}
            there = [
                put_right(row, item, workloads, live.get(item["metadata"]["name"]))
                for item in deployments_of(row.manifest)
            ]
            put_around_right(row, workloads, there[0])
    except ClientError as error:
        Drift.objects.filter(deployment=row, ended_at=None).exclude(wish="").update(
            trouble=error.message
        )
        raise


def put_right(row: Deployment, manifest: Manifest, workloads: Workloads, live: Json | None) -> Json:
    """Apply over everybody but an autoscaler, and take away what others added. Answers what is
    there then.
    """
    declared = placed(manifest, replicas=row.replicas, fence=row.fence)
    found = differences(declared, live) if live else ()
    if any(d.owned for d in found):
        declared["spec"].pop("replicas")
    applied = workloads.apply(declared, force=True)
    added: list[Difference] = [d for d in found if d.declared is None]
    if added and manifest["kind"] == LEADER_WORKER_SET:
        names = ", ".join(d.text for d in added)
        raise Permanent(f"{names} was added and can be taken away by hand only: kubectl edit")
    if live and added:
        patch = removal([d.path for d in added])
        meta = live["metadata"]
        workloads.take_away(meta["name"], meta["uid"], patch, manifest["kind"])
    return applied


def put_around_right(row: Deployment, workloads: Workloads, owner: Json) -> None:
    """The objects beside Deployments that somebody wants as declared again, and no others."""
    paths = Drift.objects.filter(deployment=row, ended_at=None, wish=Drift.Wish.REPAIR)
    wanted = {key for p in paths.values_list("path", flat=True) if (key := object_in(p))}
    if not wanted:
        return
    found = workloads.around(selector_of(row.service.name), {kind for kind, _ in wanted})
    live = {key_of(item): item for item in found}
    serves = row.service.current_release_id == row.release_id
    for item in around_of(row.manifest, row.service.name, serves=serves):
        if key_of(item) in wanted:
            whole = item if key_of(item) == budget_of(row) else owned(item, owner)
            put_one_right(item, whole, workloads, live.get(key_of(item)))


def budget_of(row: Deployment) -> Key:
    """Of the service, whatever its release: it belongs to no Deployment."""
    return BUDGET, row.service.name


def put_one_right(
    declared: Manifest, whole: Manifest, workloads: Workloads, live: Json | None
) -> None:
    """What was added goes first: beside it the declared state may be refused."""
    added = [d.path for d in differences(declared, live) if d.declared is None] if live else []
    if live and added:
        meta = live["metadata"]
        workloads.take_away(meta["name"], meta["uid"], removal(added), declared["kind"])
    try:
        workloads.apply(whole, force=True)
    except Permanent as error:
        if declared["kind"] != FILES or error.status != 422:
            raise
        name = declared["metadata"]["name"]
        raise Permanent(
            f"{name} was made anew with other content, which nobody can change: kubectl delete"
            f" configmap {name}, and it is made again as declared",
            status=422,
        ) from error


def take_over(row: Deployment, drift: Drift, workloads: Workloads, live: Json) -> None:
    """Declare what runs, and own it: the next rollout must not meet another owner."""
    replicas = live["spec"].get("replicas", 0)
    if replicas != drift.live:
        return  # changed again: the next look of the observer shows it
    with fleet_scope(), transaction.atomic():
        Deployment.objects.filter(pk=row.pk).update(replicas=replicas)
    row.replicas = replicas
    (item,) = deployments_of(row.manifest)
    applied = workloads.apply(placed(item, replicas=replicas, fence=row.fence), force=True)
    meta = applied["metadata"]
    managed = released(meta.get("managedFields") or [], PATH)
    workloads.own_alone(meta["name"], meta.get("resourceVersion", ""), managed, item["kind"])


def adopts(r: Rollout) -> bool:
    """Whether it brings the release that declares what somebody wrote into the old one."""
    rows = Drift.objects.filter(adopted_as=r.to_release, deployment__release=r.from_release)
    return rows.exists()


def as_it_is(manifest: Manifest, deployments: Iterable[Json]) -> Manifest:
    """What leaves is scaled with its edits, as they were adopted: nothing of it restarts."""
    live = {d["metadata"]["name"]: d for d in deployments}
    items = [
        as_live(m, live[m["metadata"]["name"]]) if m["metadata"]["name"] in live else m
        for m in items_of(manifest)
    ]
    return manifest | {"items": items} if "items" in manifest else items[0]
