"""Do with one Deployment what a person chose about its drift."""

from django.db import transaction

from fleet.clients.errors import ClientError, Permanent
from fleet.clients.kube import Json
from fleet.clients.workloads import Workloads
from fleet.models import Deployment, Drift
from fleet.rules.declared import REPLICAS, Difference, Step, differences, released, removal
from fleet.rules.manifests import Manifest, deployments_of, placed
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
            for item in deployments_of(row.manifest):
                put_right(row, item, workloads, live.get(item["metadata"]["name"]))
    except ClientError as error:
        Drift.objects.filter(deployment=row, ended_at=None).exclude(wish="").update(
            trouble=error.message
        )
        raise


def put_right(row: Deployment, manifest: Manifest, workloads: Workloads, live: Json | None) -> None:
    """Apply over everybody but an autoscaler, and take away what others added."""
    declared = placed(manifest, replicas=row.replicas, fence=row.fence)
    found = differences(declared, live) if live else ()
    if any(d.owned for d in found):
        declared["spec"].pop("replicas")
    workloads.apply(declared, force=True)
    added: list[Difference] = [d for d in found if d.declared is None]
    if added and manifest["kind"] == LEADER_WORKER_SET:
        names = ", ".join(d.text for d in added)
        raise Permanent(f"{names} was added and can be taken away by hand only: kubectl edit")
    if live and added:
        patch = removal([d.path for d in added])
        meta = live["metadata"]
        workloads.take_away(meta["name"], meta["uid"], patch, manifest["kind"])


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
