"""API keys: create, rotate with overlap, revoke. The secret is answered once and never kept."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from tenants.actions.audit import picture, record
from tenants.actions.credentials import mint
from tenants.actions.policy import announce_revoked
from tenants.errors import Conflict, Invalid
from tenants.models import ApiKey, Application, Tenant
from tenants.nudge import nudge
from tenants.queries.keys import get_key
from tenants.queries.tenants import get_application, get_tenant, granted_models
from tenants.rules.access import Permission, Viewer
from tenants.rules.keys import Wish, fault_of_overlap, faults_of_key
from tenants.rules.secrets import Kind

PUBLISH_POLICY = "tenants.tasks.publish_policy"
ROTATION_OVERLAP = timedelta(hours=24)
MARK_USED = """
UPDATE api_key SET last_used_at = used.at
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS used (id, tenant_id, at)
WHERE api_key.id = used.id AND api_key.tenant_id = used.tenant_id
AND (last_used_at IS NULL OR last_used_at < used.at - interval '1 minute')
AND api_key.id IN (
    SELECT id FROM api_key WHERE id = ANY (%s::bigint[]) ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
"""


@transaction.atomic
def create_key(
    viewer: Viewer, tenant_slug: str, application_slug: str, *, wish: Wish, why: str = ""
) -> tuple[ApiKey, str]:
    """Answer the key and its secret, which nobody can read again."""
    tenant = _tenant(viewer, tenant_slug)
    application = get_application(viewer, tenant, application_slug)
    _check(viewer, tenant, wish)
    key, secret = _insert(application, wish)
    record(viewer, "key.create", key, after=picture(key), why=why)
    nudge(PUBLISH_POLICY)
    return key, secret


@transaction.atomic
def rotate_key(
    viewer: Viewer,
    tenant_slug: str,
    public_id: str,
    *,
    overlap: timedelta = ROTATION_OVERLAP,
    why: str = "",
) -> tuple[ApiKey, str]:
    """Make a new key like the old one; the old one expires after `overlap`."""
    tenant = _tenant(viewer, tenant_slug)
    old = _locked(viewer, tenant, public_id)
    if fault := fault_of_overlap(overlap):
        raise Invalid(overlap=fault)
    now = timezone.now()
    if old.revoked_at or (old.expires_at and old.expires_at <= now):
        raise Conflict(f"{old} does not live any more: create a new key instead")
    wish = replace(_wish_of(old), expires_at=_renewed(old))
    _check(viewer, tenant, wish)
    new, secret = _insert(old.application, wish)
    before = picture(old)
    old.expires_at = min(old.expires_at or now + overlap, now + overlap)
    old.save(update_fields=["expires_at"])
    record(viewer, "key.rotate", old, before=before, after=picture(old), why=why)
    record(viewer, "key.create", new, after=picture(new), why=f"rotation of {old}")
    nudge(PUBLISH_POLICY)
    return new, secret


@transaction.atomic
def revoke_key(viewer: Viewer, tenant_slug: str, public_id: str, *, why: str = "") -> ApiKey:
    """Close the key at every gateway within seconds. There is no way back."""
    tenant = _tenant(viewer, tenant_slug)
    key = _locked(viewer, tenant, public_id)
    if key.revoked_at:
        raise Conflict(f"{key} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC")
    before = picture(key)
    key.revoked_at = timezone.now()
    key.save(update_fields=["revoked_at"])
    record(viewer, "key.revoke", key, before=before, after=picture(key), why=why)
    announce_revoked(key.digest)
    nudge(PUBLISH_POLICY)
    return key


def mark_used(last: Mapping[tuple[int, int], datetime]) -> None:
    """Keep when keys were last used, to the minute, for whoever tidies up.

    `last`: by key and tenant; a key of another tenant stays as it is. In the open scope. A row that
    another writer holds is left out: its mark is as good.
    """
    with connection.cursor() as cursor:
        keys, tenants = [key for key, _ in last], [tenant for _, tenant in last]
        cursor.execute(MARK_USED, [keys, tenants, list(last.values()), keys])


def _tenant(viewer: Viewer, slug: str) -> Tenant:
    tenant = get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    return tenant


def _locked(viewer: Viewer, tenant: Tenant, public_id: str) -> ApiKey:
    key = get_key(viewer, tenant, public_id)
    return (
        ApiKey.objects.select_for_update(of=("self",)).select_related("application").get(pk=key.pk)
    )


def _check(viewer: Viewer, tenant: Tenant, wish: Wish) -> None:
    faults = faults_of_key(
        wish,
        ceiling=tenant.traffic_class,
        granted=granted_models(viewer, tenant),
        now=timezone.now(),
    )
    if faults:
        raise Invalid(**faults)


def _insert(application: Application, wish: Wish) -> tuple[ApiKey, str]:
    minted = mint(Kind.API_KEY)
    key = ApiKey.objects.create(
        tenant_id=application.tenant_id,
        application=application,
        name=wish.name.strip(),
        public_id=minted.public_id,
        digest=minted.digest,
        scopes=list(wish.scopes),
        served_models=None if wish.served_models is None else sorted(set(wish.served_models)),
        traffic_class=wish.traffic_class,
        expires_at=wish.expires_at,
    )
    return key, minted.secret


def _wish_of(key: ApiKey) -> Wish:
    return Wish(
        name=key.name,
        scopes=tuple(key.scopes),
        served_models=None if key.served_models is None else tuple(key.served_models),
        traffic_class=key.traffic_class,
        expires_at=key.expires_at,
    )


def _renewed(key: ApiKey) -> datetime | None:
    """As long a life as the old key had, counted from now."""
    if key.expires_at is None:
        return None
    return timezone.now() + (key.expires_at - key.created_at)
