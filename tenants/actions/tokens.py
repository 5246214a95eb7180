"""Access tokens for the REST API, and the gateways' credentials at the ingest door."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from tenants.actions.audit import record
from tenants.actions.credentials import mint
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.models import AccessToken, UsageSource
from tenants.queries.directory import tenant_refs
from tenants.queries.people import get_source, get_token
from tenants.rules import names
from tenants.rules.access import Permission, Viewer
from tenants.rules.networks import canonical, fault_of_networks
from tenants.rules.secrets import Kind

LONGEST_LIFE = timedelta(days=365)
LONGEST_OVERLAP = 30 * 24  # hours, for which two secrets of a source are accepted


def grantable(viewer: Viewer) -> list[str]:
    """The permissions that the viewer could put into a token: never more than his own."""
    return [p.value for p in Permission if viewer.may_somewhere(p)]


@transaction.atomic
def create_token(
    viewer: Viewer,
    *,
    name: str,
    permissions: Sequence[str],
    lifetime: timedelta,
    networks: Sequence[str] = (),
    owner_id: int | None = None,
) -> tuple[AccessToken, str]:
    """Answer a token of the viewer's own and its secret, which is shown once.

    The machine itself, which owns nothing, names the owner.
    """
    if owner_id is not None and viewer.via != "system":
        raise Forbidden("A token is made by the person who will use it")
    owner_id = owner_id or viewer.user_id
    if owner_id is None or viewer.via == "token":
        raise Forbidden("A token cannot make tokens: sign in to make one")
    _check(name, permissions, lifetime, grantable(viewer))
    if fault := fault_of_networks(networks):
        raise Invalid(networks=fault)
    minted = mint(Kind.ACCESS_TOKEN)
    token = AccessToken.objects.create(
        user_id=owner_id,
        name=name.strip(),
        public_id=minted.public_id,
        digest=minted.digest,
        permissions=sorted(set(permissions)),
        networks=canonical(networks),
        expires_at=timezone.now() + lifetime,
    )
    record(viewer, "token.create", token, after=token)
    return token, minted.secret


@transaction.atomic
def revoke_token(viewer: Viewer, public_id: str, *, why: str = "") -> AccessToken:
    """Revoke one's own token, or anybody's with the right to manage people."""
    token = get_token(viewer, public_id)
    if token.revoked_at:
        raise Conflict(f"{token} was revoked at {token.revoked_at:%Y-%m-%d %H:%M} UTC")
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    after = {"revoked_at": token.revoked_at, "owner": token.user.email}
    record(viewer, "token.revoke", token, after=after, why=why)
    return token


@transaction.atomic
def create_source(
    viewer: Viewer, *, name: str, tenants: Sequence[str] = ()
) -> tuple[UsageSource, str]:
    """Let a gateway deliver usage: of these tenants only, or of all where none is named.

    Event ids are told apart within one source.
    """
    viewer.require(Permission.MANAGE_FLEET)
    if fault := names.fault_of_slug(name):
        raise Invalid(name=fault)
    minted = mint(Kind.USAGE_SOURCE)
    source = UsageSource(
        name=name,
        public_id=minted.public_id,
        digest=minted.digest,
        tenant_ids=_ids_of(tenants),
    )
    try:
        with transaction.atomic():
            source.save()
    except IntegrityError as error:
        raise Invalid(name=f"A usage source {name} exists already") from error
    after = {"name": name, "public_id": minted.public_id, "tenants": sorted(set(tenants))}
    record(viewer, "source.create", source, after=after)
    return source, minted.secret


@transaction.atomic
def renew_source(
    viewer: Viewer, name: str, *, why: str = "", keep_hours: int = 0
) -> tuple[UsageSource, str]:
    """Give the source a new secret; it stays the same source, and its event ids go on.

    Its old secret is accepted for so many hours more: 0, or one that was revoked, ends at once.
    """
    viewer.require(Permission.MANAGE_FLEET)
    if not 0 <= keep_hours <= LONGEST_OVERLAP:
        raise Invalid(keep_hours=f"Between 0 and {LONGEST_OVERLAP} hours")
    source = get_source(viewer, name)
    before = {"public_id": source.public_id, "revoked_at": source.revoked_at}
    minted = mint(Kind.USAGE_SOURCE)
    is_kept = keep_hours and not source.revoked_at
    source.previous_digest = source.digest if is_kept else ""
    source.previous_until = timezone.now() + timedelta(hours=keep_hours) if is_kept else None
    source.public_id, source.digest, source.revoked_at = minted.public_id, minted.digest, None
    source.save()
    after = {
        "public_id": source.public_id,
        "revoked_at": None,
        "previous_until": source.previous_until,
    }
    record(viewer, "source.renew", source, before=before, after=after, why=why)
    return source, minted.secret


@transaction.atomic
def revoke_source(viewer: Viewer, name: str, *, why: str = "") -> UsageSource:
    """Refuse what this gateway delivers. It keeps its spool until it has a credential again."""
    viewer.require(Permission.MANAGE_FLEET)
    source = get_source(viewer, name)
    if source.revoked_at:
        raise Conflict(f"{name} was revoked at {source.revoked_at:%Y-%m-%d %H:%M} UTC")
    source.revoked_at = timezone.now()
    source.save(update_fields=["revoked_at"])
    record(viewer, "source.revoke", source, after={"revoked_at": source.revoked_at}, why=why)
    return source


def _ids_of(slugs: Sequence[str]) -> list[int]:
    known = {t.slug: t.id for t in tenant_refs().values()}
    if unknown := sorted(set(slugs) - set(known)):
        raise Invalid(tenants=f"There is no tenant {unknown[0][:63]!r}")
    return sorted(known[slug] for slug in set(slugs))


def _check(
    name: str, permissions: Sequence[str], lifetime: timedelta, allowed: Sequence[str]
) -> None:
    excess = [p for p in permissions if p not in allowed]
    faults = names.faults(name=names.fault_of_name(name))
    if not permissions:
        faults["permissions"] = "A token without a scope opens nothing: choose at least one"
    elif excess:
        faults["permissions"] = f"You cannot give {excess[0]!r}: you do not have it"
    if not timedelta(0) < lifetime <= LONGEST_LIFE:
        faults["days"] = f"Between 1 and {LONGEST_LIFE.days} days"
    if faults:
        raise Invalid(**faults)
