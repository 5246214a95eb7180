"""Keep what was rolled out: replicas that Kubernetes made anew are verified and admitted, a
Deployment that somebody deleted is made again, and a service whose number of replicas was changed
since its last rollout is scaled to it (where a policy scales it, `scaling` writes the number and it
is brought to the cluster here). A release that is over and yet there, as the observer tells, is
taken away: a worker that was stopped in the middle of a write wrote it when it went on. An engine
over several pods that lost one of them begins anew as a whole. What
somebody else wrote into a Deployment is left alone until a person chooses (`fleet.actions.drift`);
then it is repaired or adopted here.

Works from the observer's rows and asks the cluster only where these show a difference. Rollouts
look after their own service from their beginning to their end: one that waits for an approval, for
the calendar or for its turn does not, however long that takes.
"""

from datetime import datetime
from typing import Any

import structlog
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Now

from fleet.actions.waking import MOVING, OPEN
from fleet.clients.errors import ClientError
from fleet.clients.workloads import Workloads
from fleet.drive.act import admission
from fleet.drive.drift import settle, undecided_replicas, wished
from fleet.drive.evidence import store_probes, store_starts
from fleet.drive.look import ask_all, expected, side_of, viewer
from fleet.drive.outside import REAL, Outside
from fleet.drive.place import put, remove
from fleet.models import Cluster, Deployment, Drift, Rollout
from fleet.rules.groups import pods_from
from fleet.rules.manifests import kinds_of, selector_of
from fleet.rules.members import groups_of, torn
from fleet.rules.phases import Phase
from fleet.rules.seen import Side
from fleet.rules.verify import judge, to_probe
from tenants.actions import audit
from tenants.base.scope import fleet_scope

log = structlog.get_logger(__name__)


def due_deployments() -> list[int]:
    """Placed releases of quiet services whose observed pods are not all that is wanted."""
    serving = Count(
        "pods", filter=Q(pods__ready=True, pods__admitted=True, pods__terminating=False)
    )
    current = Q(release=F("service__current_release"))
    rows = Deployment.objects.filter(current | Q(replicas__gt=0)).exclude(service__in=moved())
    related = ("service__scaling", "release")
    rows = rows.select_related(*related).annotate(serving=serving).order_by("id")
    wishes = Drift.objects.filter(ended_at=None).exclude(wish="")
    wished = set(wishes.values_list("deployment_id", flat=True))
    return [
        d.pk
        for d in rows
        if d.pk in wished or d.serving != pods_of(d) or asked_replicas(d) != d.replicas
    ]


def pods_of(row: Deployment) -> int:
    """That all its replicas have together."""
    return row.replicas * len(pods_from(row.release.resources, row.release.roles))


def is_over(row: Deployment) -> bool:
    """Nothing of it shall run: its last rollout has gone on to another release."""
    return row.replicas == 0 and row.service.current_release_id != row.release_id


def busy() -> Any:
    """Services whose numbers of replicas a plan was made for."""
    return Rollout.objects.filter(phase__in=OPEN).values("service_id")


def moved() -> Any:
    return Rollout.objects.filter(phase__in=MOVING).values("service_id")


def keep(deployment_id: int, outside: Outside = REAL) -> None:
    """Look at one placed release and put right what is not as declared."""
    related = ("service__scaling", "cluster", "release__service", "release__model_version")
    rows = Deployment.objects.select_related(*related).exclude(service__in=moved())
    row = rows.filter(pk=deployment_id).first()
    if row is None or not row.manifest:
        return
    scale(row)
    try:
        workloads = outside.connect(row.cluster)
        look = workloads.look(selector_of(row.service.name), kinds_of(row.manifest))
        side = side_of(look, row.release)
        if drift := wished(row.pk):
            settle(row, drift, workloads, look)
        elif is_over(row):
            take_away(row, side, workloads)
            return
        elif not side.exists or (differs(side, row) and not undecided_replicas(row.pk)):
            restore(row, workloads, existed=side.exists)
        begin_anew(row, side, workloads)
        admit_verified(row, side, workloads, outside, outside.clock())
    except ClientError as error:
        log.warning("not kept now", deployment=row.name, why=error.message)


def differs(side: Side, row: Deployment) -> bool:
    return side.wanted != row.replicas or side.uneven


def restore(row: Deployment, workloads: Workloads, *, existed: bool) -> None:
    """Nobody has to be asked whether what is declared shall be there at all."""
    told = "replicas are brought to the cluster" if existed else "deleted: made again as declared"
    log.warning(told, deployment=row.name, replicas=row.replicas)
    put(workloads, row.manifest, replicas=row.replicas, fence=row.fence)
    if not existed:
        with fleet_scope():
            why = f"{row.name} was deleted in the cluster and is declared with {row.replicas}"
            audit.record(viewer(), "deployment.restore", row, why=f"{why} replicas: made again")


def begin_anew(row: Deployment, side: Side, workloads: Workloads) -> None:
    """An engine over several pods that lost one of them: what is left of it computes nothing."""
    for members in groups_of(side.live).values():
        if late := torn(members):
            why = f"{late[0].name} started again after its leader was ready"
            log.warning("all pods of an engine begin anew", deployment=row.name, why=why)
            for pod in members:
                workloads.delete("Pod", pod.name, pod.uid)
            with fleet_scope():
                names = ", ".join(sorted(p.name for p in members))
                audit.record(viewer(), "deployment.anew", row, why=f"{why}: {names} begin anew")


def take_away(row: Deployment, side: Side, workloads: Workloads) -> None:
    """Its pods go with it; nothing of it took traffic, as its weight is 0."""
    if not side.parts:
        return
    log.warning("over, and made again by somebody: taken away", deployment=row.name)
    remove(workloads, side)
    with fleet_scope():
        why = f"{row.name} is over and had {side.wanted} replicas in the cluster: taken away"
        audit.record(viewer(), "deployment.remove", row, why=why)


def asked_replicas(row: Deployment) -> int:
    """What people want of the current release: their number, if it is newer than the rollout's.

    Where they gave bounds instead, the number is what was decided by the load.
    """
    service = row.service
    if service.current_release_id != row.release_id or hasattr(service, "scaling"):
        return row.replicas
    ended = Rollout.objects.filter(service=service, phase=Phase.SUCCEEDED.value)
    last = ended.aggregate(at=Max("ended_at"))["at"]
    newer = last is not None and service.changed_at > last
    return service.replicas if newer else row.replicas


def scale(row: Deployment) -> None:
    """Take the asked number over into the wanted state; whoever asked stands in the audit."""
    wanted = asked_replicas(row)
    if wanted == row.replicas:
        return
    before = {"replicas": row.replicas}
    with fleet_scope():
        taken = Deployment.objects.filter(pk=row.pk, replicas=row.replicas)
        if taken.exclude(service__in=busy()).update(replicas=wanted):
            after = {"replicas": wanted}
            audit.record(viewer(), "service.scale", row.service, before=before, after=after)
    row.refresh_from_db(fields=["replicas"])


def admit_verified(
    row: Deployment, side: Side, workloads: Workloads, outside: Outside, now: datetime
) -> None:
    pods = to_probe(side)
    answers = ask_all(pods, row.service.name, outside)
    probes = {p.uid: judge(p, answers[p.uid], expected(row.release, p)) for p in pods}
    store_probes(row.service, probes, answers, now)
    for pod in pods:
        if not probes[pod.uid].ok:
            log.warning("replica not admitted", pod=pod.name, why=probes[pod.uid].text)
            continue
        workloads.set_condition(pod.name, pod.uid, admission(probes[pod.uid].text, now))
        store_starts(row.service, row.cluster, row.release, [pod], now)
        # Gateways learn of it from the observer's next look, for which somebody may wait.
        Cluster.objects.filter(pk=row.cluster_id).update(look_again=Now())
