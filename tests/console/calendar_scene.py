"""What a day brings besides: an edit by hand, a freeze, a canary that not everybody meets."""

from datetime import datetime, time, timedelta
from types import SimpleNamespace

from fleet.models import Deployment, Drift, Freeze
from fleet.rules.audience import Audience, Named
from tenants.base.scope import fleet_scope


def furnish_calendar(scene: SimpleNamespace, now: datetime) -> SimpleNamespace:
    with fleet_scope():
        placed = Deployment.objects.filter(cluster=scene.cluster, replicas__gt=0)
        Drift.objects.create(
            deployment=placed.earliest("pk"), path="spec.replicas", declared=2, live=5,
            manager="kubectl-edit", operation="Update", written_at=now, found_at=now, seen_at=now,
        )  # fmt: skip
        Freeze.objects.create(
            title="Weekends", reason="nobody is up", starts_at=now, weekdays=[5, 6],
            from_time=time(0, 0), minutes=24 * 60, zone="Europe/Berlin",
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
    return scene
