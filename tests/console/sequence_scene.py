"""A release on its way through three clusters: one is done, one bakes, one is lost."""

from datetime import datetime, timedelta
from types import SimpleNamespace

from fleet.models import (
    Cluster,
    Placement,
    RolloutSequence,
    SequenceEvent,
    SequenceStage,
    Service,
)
from fleet.rules.begins_within import BeginsWithin
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest

LOST = "Last observed 4 min ago: connection refused"


def furnish_sequence(scene: SimpleNamespace, now: datetime) -> SimpleNamespace:
    with fleet_scope():
        rollout = scene.rollouts["rolled_back"]
        home = rollout.service
        release = rollout.to_release
        change = ChangeRequest.objects.create(
            kind="rollout_sequence", target_id=1,
            title=f"{home.name}: {release} through 3 clusters",
            payload={"service": home.name}, digest="5e" * 32, requester=scene.olga,
            decider=scene.vic, state="approved", decided_at=now, expires_at=now,
        )  # fmt: skip
        sequence = RolloutSequence.objects.create(
            service=home, release=release, bake_seconds=3600, phase="running",
            phase_since=now - timedelta(hours=2), requested_by=scene.olga, change_id=change.pk,
            reason="Fewer stalls on long prompts",
            why=f"us-1: Bakes for another 42 min. Frozen until seen again: asia-1 ({LOST})",
        )  # fmt: skip
        opens = now + timedelta(hours=8)
        rows = (
            ("us-1", "baking", "Bakes for another 42 min"),
            ("asia-1", "pending", f"Frozen: asia-1 is lost. {LOST}."),
            ("", "pending", f"Begins {BeginsWithin(opens).words}, as it was approved"),
        )
        for number, (slug, state, why) in enumerate(rows, 1):
            member = placed(home, slug, number, now) if slug else home
            SequenceStage.objects.create(
                sequence=sequence, number=number, service=member, cluster=member.cluster,
                release=release, state=state, since=now - timedelta(minutes=18),
                begins_from=None if slug else opens,
                frozen=slug == "asia-1", why=why, rollout=rollout if state == "baking" else None,
            )  # fmt: skip
        told = [("", "running", "Approved by vic"), ("us-1", "baking", "Bakes for another 60 min")]
        for cluster, state, why in told:
            SequenceEvent.objects.create(sequence=sequence, cluster=cluster, state=state, why=why)
    scene.sequence, scene.placed = sequence, home
    return scene


def placed(home: Service, slug: str, position: int, now: datetime) -> Service:
    lost = slug == "asia-1"
    cluster = Cluster.objects.create(
        slug=slug, name=slug, region=slug, server=f"https://{slug}.example:6443",
        observed_at=now - timedelta(minutes=4) if lost else now,
        trouble="connection refused" if lost else "",
    )  # fmt: skip
    member = Service.objects.create(
        name=f"{home.name}-{slug}", cluster=cluster, current_release=home.current_release
    )
    Placement.objects.create(service=home, member=member, position=position)
    return member
