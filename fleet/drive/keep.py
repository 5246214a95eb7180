"""Keep what was rolled out: replicas that Kubernetes made anew are verified and admitted, and a
Deployment that somebody changed or deleted becomes what is declared again.

Works from the observer's rows and asks the cluster only where these show a difference. Open
rollouts look after their own service.
"""

from datetime import datetime

import structlog
from django.db.models import Count, Q

from fleet.clients.errors import ClientError
from fleet.clients.workloads import Workloads
from fleet.drive.act import admission
from fleet.drive.evidence import store_probes, store_starts
from fleet.drive.look import ask_all, expected
from fleet.drive.outside import REAL, Outside
from fleet.models import Deployment, Rollout
from fleet.rules.manifests import placed, selector_of
from fleet.rules.phases import FINAL, Phase
from fleet.rules.seen import Side, read_side
from fleet.rules.verify import judge, to_probe

log = structlog.get_logger(__name__)
OPEN = [phase.value for phase in Phase if phase not in FINAL]


def due_deployments() -> list[int]:
    """Placed releases of quiet services whose observed pods are not all that is wanted."""
    busy = Rollout.objects.filter(phase__in=OPEN).values("service_id")
    serving = Count(
        "pods", filter=Q(pods__ready=True, pods__admitted=True, pods__terminating=False)
    )
    rows = Deployment.objects.filter(replicas__gt=0).exclude(service__in=busy)
    rows = rows.annotate(serving=serving).order_by("id")
    return [d.pk for d in rows if d.serving != d.replicas]


def keep(deployment_id: int, outside: Outside = REAL) -> None:
    """Look at one placed release and put right what is not as declared."""
    related = ("service", "cluster", "release__service", "release__model_version")
    row = Deployment.objects.select_related(*related).get(pk=deployment_id)
    if not row.manifest:
        return
    try:
        workloads = outside.connect(row.cluster)
        side = read_side(workloads.look(selector_of(row.service.name)), row.release.fingerprint)
        if not side.exists or side.wanted != row.replicas:
            log.warning("declared state restored", deployment=row.name, replicas=row.replicas)
            workloads.apply(placed(row.manifest, replicas=row.replicas, fence=row.fence))
        admit_verified(row, side, workloads, outside, outside.clock())
    except ClientError as error:
        log.warning("not kept now", deployment=row.name, why=error.message)


def admit_verified(
    row: Deployment, side: Side, workloads: Workloads, outside: Outside, now: datetime
) -> None:
    pods = to_probe(side)
    answers = ask_all(pods, row.service.name, outside)
    probes = {p.uid: judge(p, answers[p.uid], expected(row.release)) for p in pods}
    store_probes(row.service, probes, answers, now)
    for pod in pods:
        if not probes[pod.uid].ok:
            log.warning("replica not admitted", pod=pod.name, why=probes[pod.uid].text)
            continue
        workloads.set_condition(pod.name, pod.uid, admission(probes[pod.uid].text, now))
        store_starts(row.service, row.cluster, row.release, [pod], now)
