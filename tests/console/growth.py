"""A scene with many more rows of everything that lists show: for what must not grow with them."""

from datetime import datetime, timedelta
from types import SimpleNamespace

from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore

from fleet.models import Finding, GateResult, RolloutEvent, Service
from tenants.base.scope import fleet_scope
from tenants.models import (
    AccessToken,
    ApiKey,
    Application,
    AuditEvent,
    ChangeRequest,
    ModelGrant,
    Quota,
    Tenant,
    UsageSource,
    User,
)
from tests.console.scene import Scene


def grow(scene: SimpleNamespace, now: datetime, many: int = 60) -> None:
    """Add `many` rows to each list: longer than a page, which has 50."""
    builder = Scene(now)
    builder.people, builder.cluster = {"olga": scene.olga}, scene.cluster
    with fleet_scope():
        for i in range(10, 10 + many):
            builder.service(i)
            builder.tenant(i)
            builder.person(f"person-{i}", "viewer")
        grow_tenants(scene, now, many)
        grow_one_tenant(scene, many)
        grow_rollouts(builder, scene, many)
        grow_account(scene, now, many)


def grow_tenants(scene: SimpleNamespace, now: datetime, many: int) -> None:
    Finding.objects.bulk_create(
        Finding(
            tenant_id=tenant.pk, service=scene.services[0], traffic_class="interactive",
            symptom="shed", started_at=now, seen_at=now, cause="saturation", sentence="Full",
            evidence=[], requests=10, affected=1,
        )
        for tenant in Tenant.objects.filter(slug__startswith="tenant-")
    )  # fmt: skip
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_id=scene.olga.pk, actor=scene.olga.email, via="session", verb="quota.set",
            target_kind="quota", target_id=str(i), target_name="quota",
            tenant_id=scene.tenants[0].pk,
        )
        for i in range(many)
    )  # fmt: skip
    ChangeRequest.objects.bulk_create(
        ChangeRequest(
            kind="rollout", target_id=1_000_000 + i, title=f"Change {i}",
            payload={}, digest="d" * 64, requester=scene.olga, expires_at=now + timedelta(hours=1),
        )
        for i in range(many)
    )  # fmt: skip
    UsageSource.objects.bulk_create(
        UsageSource(name=f"source-{i}", public_id=f"s1{i:06}", digest=f"s{i:063}")
        for i in range(many)
    )


def grow_one_tenant(scene: SimpleNamespace, many: int) -> None:
    acme = scene.tenants[0]
    apps = Application.objects.bulk_create(
        Application(tenant=acme, slug=f"app-{i}", name=f"App {i}") for i in range(many)
    )
    ApiKey.objects.bulk_create(
        ApiKey(
            tenant=acme, application=app, name="ci", public_id=f"k1{i:06}", digest=f"k{i:063}",
            scopes=["inference"], traffic_class="interactive",
        )
        for i, app in enumerate(apps)
    )  # fmt: skip
    Quota.objects.bulk_create(
        Quota(tenant=acme, application=app, series=10_000 + app.pk, requests_per_minute=10)
        for app in apps
    )
    ModelGrant.objects.bulk_create(
        ModelGrant(tenant=acme, model=name)
        for name in Service.objects.filter(name__startswith="service-").values_list(
            "name", flat=True
        )
    )


def grow_rollouts(builder: Scene, scene: SimpleNamespace, many: int) -> None:
    """Of one service, whose own page lists them, and events and looks of one rollout."""
    service, moving = scene.services[1], scene.rollouts["analyzing"]
    for number in range(10, 10 + many):
        builder.rollout(service, builder.release(service, number), "succeeded", ended=True)
    RolloutEvent.objects.bulk_create(
        RolloutEvent(rollout=moving, phase="analyzing", step=1, why="One more look", detail={})
        for _ in range(many)
    )
    last = GateResult.objects.filter(rollout=moving).latest("id")
    GateResult.objects.bulk_create(
        GateResult(
            rollout=moving, step=1, window_start=builder.ago(9), window_end=builder.ago(7),
            verdict=last.verdict, checks=last.checks, why=last.why, evidence=last.evidence,
        )
        for _ in range(many)
    )  # fmt: skip


def grow_account(scene: SimpleNamespace, now: datetime, many: int) -> None:
    proof = User.objects.get(pk=scene.olga.pk).get_session_auth_hash()
    for _ in range(many):
        store = SessionStore()
        store.update({"_auth_user_id": str(scene.olga.pk), "_auth_user_hash": proof})
        store.create()
        UserSession.objects.create(
            user=scene.olga, ip="192.0.2.7", session_key=store.session_key, user_agent="Browser"
        )
    AccessToken.objects.bulk_create(
        AccessToken(
            user=scene.olga, name=f"token {i}", public_id=f"t1{i:06}", digest=f"t{i:063}",
            permissions=["view"], expires_at=now + timedelta(days=9),
        )
        for i in range(many)
    )  # fmt: skip
