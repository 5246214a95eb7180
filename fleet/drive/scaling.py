"""One look at one service's load: claim, look, decide, record. `keep` brings it to the cluster.

The wanted number is a row before it is an effect: whatever kills a worker in between, the sweep
finds the row and applies it. Nothing is written where somebody else owns the number.
"""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog
from django.db.models.functions import Now

from fleet.clients.errors import ClientError
from fleet.drive.drift import PATH
from fleet.drive.keep import busy
from fleet.drive.outside import REAL, Outside
from fleet.models import Deployment, ScalingDecision, ScalingPolicy
from fleet.queries.gateways import Gateways, read_gateways
from fleet.queries.load import owner_words, rules_of, seen_of
from fleet.rules.declared import AUTOSCALERS, writer_of
from fleet.rules.manifests import MANAGER, kinds_of, selector_of
from fleet.rules.scaling import PERIOD, Decision, Seen, decide
from fleet.rules.seen import release_of
from tenants.actions import audit
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope
from tenants.nudge import nudge
from tenants.rules.access import Permission, system_viewer

log = structlog.get_logger(__name__)
KEEP = "fleet.tasks.keep_deployment"
PUBLISH = "fleet.tasks.publish_routing"
SCALE = "fleet.tasks.scale_service"


def due_policies() -> list[int]:
    return ScalingPolicy.due()


def called_policies(gateways: Gateways) -> list[int]:
    """Of services that sleep while requests wait for them: the bell for them was lost."""
    waiting = {pk for worker in gateways.workers for pk in worker.waking}
    return sleeping(waiting) if waiting else []


def sleeping(service_ids: Iterable[int]) -> list[int]:
    rows = ScalingPolicy.objects.filter(service__in=list(service_ids), woken_at=None)
    return list(rows.exclude(slept_at=None).values_list("pk", flat=True))


def answer(bells: Iterable[int]) -> None:
    """Gateways rang for these services: look at those that sleep, at once."""
    for policy_id in sleeping(bells):
        nudge(SCALE, policy_id)


def scale(policy_id: int, outside: Outside = REAL) -> Decision | None:
    """Make one look. None: somebody else has the row, or nothing runs yet."""
    with claimed(ScalingPolicy, policy_id) as claim:
        return pass_over(policy_id, claim, outside) if claim else None


def pass_over(policy_id: int, claim: uuid.UUID, outside: Outside) -> Decision | None:
    policy = ScalingPolicy.objects.select_related("service").get(pk=policy_id)
    now = outside.clock()
    row = serving_row(policy)
    if row is None:
        ScalingPolicy.record(policy_id, claim, look_again=Now() + PERIOD)
        return None
    seen = seen_of(policy, row, read_gateways(now), now)
    decision = decide(rules_of(policy), seen, now)
    if decision.given != row.replicas:
        owner, trouble = ask_cluster(row, outside)
        seen = replace(seen, owner=owner, stale=trouble)
        decision = decide(rules_of(policy), seen, now)
    if not record(policy, row, seen, decision, claim, now):
        log.info("claim lost, the look is dropped", policy=policy_id)
        return None
    log.info("scaling", service=policy.service.name, given=decision.given, why=decision.why)
    return decision


def serving_row(policy: ScalingPolicy) -> Deployment | None:
    """Where the release that serves is placed."""
    service = policy.service
    related = ("service", "cluster", "release__service", "release__model_version")
    rows = Deployment.objects.select_related(*related)
    rows = rows.filter(release=service.current_release_id, cluster=service.cluster_id)
    return rows.filter(service=service).first()


def ask_cluster(row: Deployment, outside: Outside) -> tuple[str, str]:
    """Before a change: who else owns the number in the cluster itself, now; or why nobody knows."""
    try:
        look = outside.connect(row.cluster).look(
            selector_of(row.service.name), kinds_of(row.manifest)
        )
    except ClientError as error:
        return "", error.message
    for live in look["deployments"]:
        writer = writer_of(live["metadata"].get("managedFields") or [], PATH)
        if release_of(live) == row.release.fingerprint and writer.manager not in ("", MANAGER):
            owned = writer.manager in AUTOSCALERS
            replicas = live["spec"].get("replicas", 0)
            return owner_words(writer.manager, owned=owned, replicas=replicas), ""
    return "", ""


def record(
    policy: ScalingPolicy,
    row: Deployment,
    seen: Seen,
    decision: Decision,
    claim: uuid.UUID,
    now: datetime,
) -> bool:
    """Write the number and why, guarded by the claim. A rollout proposed meanwhile wins."""
    again = {"look_again": Now() + PERIOD, "failures": 0, "failure": ""}
    ours = ScalingPolicy.objects.filter(pk=policy.pk, claim=claim, claim_until__gt=Now())
    with fleet_scope():
        # What a worker saw that was frozen meanwhile is too old, though nobody took the row.
        if not ours.exists() or not ScalingPolicy.record(policy.pk, claim, **again):
            return False
        changed = decision.given != row.replicas
        if changed and not order(row, decision):
            return True
        if states := rest_of(policy, row, seen, decision, now):
            ScalingPolicy.objects.filter(pk=policy.pk).update(**states)
            nudge(PUBLISH)  # gateways keep its requests waiting, or no longer
        load = seen.load
        ScalingDecision.objects.create(
            service=policy.service,
            at=now,
            running=load.running,
            waiting=load.waiting,
            queued=load.queued,
            demand=load.total if load.whole else None,
            forecast=decision.forecast,
            target=policy.target,
            serving=seen.serving,
            declared=row.replicas,
            wanted=decision.wanted,
            given=decision.given,
            changed=changed,
            why=decision.why,
        )
    return True


def rest_of(
    policy: ScalingPolicy, row: Deployment, seen: Seen, decision: Decision, now: datetime
) -> dict[str, datetime | None]:
    """What changed of when it fell asleep, and since when it wakes."""
    if not decision.given:
        fell = policy.slept_at is None or row.replicas
        return {"slept_at": now, "woken_at": None} if fell else {}
    if policy.slept_at is None:
        return {}
    if not row.replicas:
        return {"woken_at": now}
    return {"slept_at": None, "woken_at": None} if seen.load.asked else {}


def order(row: Deployment, decision: Decision) -> bool:
    """The wanted number as a row. False: somebody was faster, the next look decides anew.

    A rollout that is proposed in this moment holds the row (`actions.rollouts`): it is awaited,
    and what was asked after that knows of it.
    """
    Deployment.objects.select_for_update(of=("self",)).get(pk=row.pk)
    rows = Deployment.objects.filter(pk=row.pk, replicas=row.replicas)
    if not rows.exclude(service__in=busy()).update(replicas=decision.given):
        return False
    viewer = system_viewer("scaling", (Permission.VIEW_FLEET,))
    before, after = {"replicas": row.replicas}, {"replicas": decision.given}
    audit.record(viewer, "service.scale", row.service, before=before, after=after, why=decision.why)
    nudge(KEEP, row.pk)
    return True
