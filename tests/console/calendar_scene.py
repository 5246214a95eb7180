"""What a day brings: edits by hand, a freeze, a canary that not everybody meets, a queue."""

from datetime import datetime, time, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

from fleet.models import (
    Cluster,
    Deployment,
    Drift,
    Freeze,
    NodeDrift,
    Release,
    Rollout,
    Service,
)
from fleet.rules.audience import Audience, Named
from tenants.base.scope import fleet_scope

ZONE = "Europe/Berlin"


def furnish_calendar(scene: SimpleNamespace, now: datetime) -> SimpleNamespace:
    with fleet_scope():
        placed = Deployment.objects.filter(cluster=scene.cluster, replicas__gt=0)
        Drift.objects.create(
            deployment=placed.earliest("pk"), path="spec.replicas", declared=2, live=5,
            manager="kubectl-edit", operation="Update", written_at=now, found_at=now, seen_at=now,
        )  # fmt: skip
        here = now.astimezone(ZoneInfo(ZONE)).weekday()
        Freeze.objects.create(  # never on a day on which tests run: it would hold what they look at
            title="Quiet days", reason="nobody is up", starts_at=now,
            weekdays=sorted((here + days) % 7 for days in (3, 4)),
            from_time=time(0, 0), minutes=24 * 60, zone=ZONE,
            created_by=scene.olga.email,
        )  # fmt: skip
        Freeze.objects.create(
            title="Quarter end", reason="invoices go out", service=scene.services[-1],
            starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=1),
            created_by=scene.vic.email,
        )  # fmt: skip
        first, *_, last = [Named(t.pk, t.slug, t.pk) for t in scene.tenants]
        rollout = scene.rollouts["analyzing"]
        rollout.plan["audience"] = Audience(first_tenants=(first,), last_tenants=(last,)).as_json()
        rollout.save(update_fields=["plan"])
        change_nodes(scene.cluster, now)
        queue_up(scene, now)
    return scene


def change_nodes(cluster: Cluster, now: datetime) -> None:
    found = {"cluster": cluster, "operation": "Update", "written_at": now, "found_at": now}
    NodeDrift.objects.create(
        node="h200-sxm-00", kind="label", name="nvidia.com/gpu.product", expected="h200-sxm",
        live="h200-sxm-SHARED", manager="kubectl-label", **found,
    )  # fmt: skip
    NodeDrift.objects.create(
        node="l40s-01", kind="taint", name="team:NoSchedule", live="research",
        manager="kubectl-taint", **found,
    )  # fmt: skip
    queue = {
        "name": "default", "cluster_queue": "serving", "flavor": "h200", "product": "h200-sxm",
        "nominal": 16, "used": 18, "borrowed": 2, "limit": 24, "free": 4, "pending": 1,
        "held": False,
    }  # fmt: skip
    kueue = {"readable": True, "queues": [queue], "of": {}}
    Cluster.objects.filter(pk=cluster.pk).update(kueue=kueue)


def queue_up(scene: SimpleNamespace, now: datetime) -> Rollout:
    """One more service, whose first release is approved and finds no free GPU."""
    service = Service.objects.create(name="rerank", cluster=scene.cluster, replicas=1)
    release = Release.objects.get(pk=scene.spare.pk)
    release.pk, release.service, release.number, release.digest = None, service, 1, "7e" * 32
    release.save(force_insert=True)
    return Rollout.objects.create(
        service=service, cluster=scene.cluster, to_release=release, plan_kind="surge_canary",
        plan=scene.rollouts["analyzing"].plan, steps=[], replicas=1, phase="awaiting_approval",
        phase_since=now, why="Approved, and waits. 2 h200-sxm missing: 2 needed", reason="New",
        requested_by=scene.olga, manifest_digest="cd" * 32,
    )  # fmt: skip
