"""People of the console, their roles, tokens, and the gateways' credentials."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count, Prefetch, Q, QuerySet
from django.db.models.functions import Now

from tenants.errors import NotFound
from tenants.models import AccessToken, RoleBinding, Tenant, UsageSource, User
from tenants.rules.access import Permission, Viewer


def list_people(
    viewer: Viewer, *, search: str = "", role: str = "", active: str = ""
) -> QuerySet[User]:
    """Everybody who can sign in, with `bindings`, for the people of the fleet."""
    viewer.require(Permission.VIEW)
    bindings = RoleBinding.objects.select_related("tenant").order_by("tenant__slug", "role")
    live = Q(tokens__revoked_at=None, tokens__expires_at__gt=Now())
    rows = User.objects.prefetch_related(Prefetch("bindings", bindings)).annotate(
        token_count=Count("tokens", filter=live)
    )
    if search:
        rows = rows.filter(Q(email__icontains=search) | Q(name__icontains=search))
    if role:
        rows = rows.filter(pk__in=RoleBinding.objects.filter(role=role).values("user_id"))
    if active:
        rows = rows.filter(is_active=active == "yes")
    return rows.order_by("email")


def get_person(viewer: Viewer, user_id: int) -> User:
    person = list_people(viewer).filter(pk=user_id).first()
    if person is None:
        raise NotFound("No such person")
    return person


def people_of_tenant(viewer: Viewer, tenant: Tenant) -> QuerySet[RoleBinding]:
    """Who has a role in this tenant's slice. The fleet's people are not listed."""
    viewer.require(Permission.VIEW, tenant.pk)
    rows = RoleBinding.objects.filter(tenant=tenant).select_related("user")
    return rows.order_by("user__email", "role")


def names_of(user_ids: Iterable[int]) -> dict[int, str]:
    """For showing who did something that the viewer may see anyway."""
    return {u.pk: str(u) for u in User.objects.filter(pk__in=set(user_ids))}


def list_tokens(viewer: Viewer, *, everybody: bool = False) -> QuerySet[AccessToken]:
    """One's own tokens, or everybody's for those who manage people. Newest first."""
    rows = AccessToken.objects.select_related("user").order_by("-id")
    if everybody:
        viewer.require(Permission.MANAGE_PEOPLE)
        return rows
    return rows.filter(user_id=viewer.user_id) if viewer.user_id else rows.none()


def get_token(viewer: Viewer, public_id: str) -> AccessToken:
    everybody = viewer.may(Permission.MANAGE_PEOPLE)
    token = list_tokens(viewer, everybody=everybody).filter(public_id=public_id).first()
    if token is None:
        raise NotFound("No such token")
    return token


def token_state(token: AccessToken, now: datetime) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at <= now else "live"


def list_sources(viewer: Viewer) -> QuerySet[UsageSource]:
    """The gateways' credentials at the ingest door."""
    viewer.require(Permission.VIEW_FLEET)
    return UsageSource.objects.order_by("name")


def get_source(viewer: Viewer, name: str) -> UsageSource:
    source = list_sources(viewer).filter(name=name).first()
    if source is None:
        raise NotFound("No such usage source")
    return source
