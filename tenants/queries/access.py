"""Who is asking: turn a session's user or a bearer secret into a Viewer."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now

from tenants.base.scope import fleet_scope
from tenants.errors import NotFound
from tenants.models import AccessToken, AuditEvent, RoleBinding, UsageSource, User
from tenants.rules.access import Binding, Permission, Role, Viewer
from tenants.rules.changes import handed_at
from tenants.rules.networks import is_within
from tenants.rules.secrets import Kind, digest, kind_of

HANDED = Q(verb__in=["person.invite", "person.reactivate", "person.reset_password"]) | Q(
    verb="role.give", after__role=Role.APPROVER.value
)
USED_EVERY = timedelta(minutes=1)  # last use is a rough figure, not a write a request


def viewer_of_user(user: User, *, request_id: str = "", address: str = "") -> Viewer:
    return Viewer(
        user_id=user.pk,
        email=user.email,
        bindings=bindings_of(user.pk),
        request_id=request_id,
        address=address,
    )


def as_of_now(viewer: Viewer) -> Viewer:
    """The same person with the roles of this moment: a request may have waited since it began."""
    if viewer.user_id is None:
        return viewer
    is_active = User.objects.filter(pk=viewer.user_id, is_active=True).exists()
    return replace(viewer, bindings=bindings_of(viewer.user_id) if is_active else ())


def handed_by(giver_id: int, since: datetime) -> dict[str, datetime]:
    """Whom one person let in since then, himself or through others, by their id: invited, gave a
    password or the role of an approver, or let in again; and when last."""
    with fleet_scope():
        rows = AuditEvent.objects.filter(HANDED, target_kind="user", at__gte=since).order_by("id")
        return handed_at(rows.values_list("actor_id", "target_id", "at"), giver_id)


def viewer_of_email(email: str) -> Viewer:
    """For commands in a terminal, whose caller names the person that acts."""
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        raise NotFound(f"Nobody with the address {email!r} may sign in")
    return replace(viewer_of_user(user), via="command")


def viewer_of_secret(secret: str, *, request_id: str = "", address: str = "") -> Viewer | None:
    """The viewer behind an access token or a usage source.

    None: unknown, expired, revoked, or used from an address outside of the token's networks.

    A tenant's API key is no credential here, whatever it may open at the gateway.
    """
    kind = kind_of(secret)
    if kind is Kind.ACCESS_TOKEN:
        return _viewer_of_token(secret, request_id, address)
    if kind is Kind.USAGE_SOURCE:
        return _viewer_of_source(secret, request_id)
    return None


def bindings_of(user_id: int) -> tuple[Binding, ...]:
    with fleet_scope():
        rows = RoleBinding.objects.filter(user_id=user_id).values_list("role", "tenant_id")
        return tuple(Binding(Role(role), tenant_id) for role, tenant_id in rows.order_by("id"))


def _viewer_of_token(secret: str, request_id: str, address: str) -> Viewer | None:
    live = AccessToken.objects.filter(revoked_at=None, expires_at__gt=Now(), user__is_active=True)
    token = live.select_related("user").filter(digest=digest(secret)).first()
    if token is None or not is_within(address, token.networks):
        return None
    unused = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_EVERY)
    AccessToken.objects.filter(unused, pk=token.pk).update(last_used_at=Now())
    return Viewer(
        user_id=token.user_id,
        email=token.user.email,
        bindings=bindings_of(token.user_id),
        allowed=frozenset(Permission(p) for p in token.permissions),
        token_id=token.pk,
        via="token",
        request_id=request_id,
        address=address,
        credential=str(token),
    )


def _viewer_of_source(secret: str, request_id: str) -> Viewer | None:
    found = digest(secret)
    before = Q(previous_digest=found, previous_until__gt=Now())
    source = UsageSource.objects.filter(Q(digest=found) | before, revoked_at=None).first()
    if source is None:
        return None
    return Viewer(
        user_id=None,
        email=f"source:{source.name}",
        allowed=frozenset({Permission.INGEST_USAGE}),
        via="source",
        source_id=source.pk,
        request_id=request_id,
    )
