"""People: invite, give and take roles, deactivate, help those who lost their password."""

from collections.abc import Iterable

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from tenants.actions.audit import record
from tenants.actions.credentials import mint_password
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import AccessToken, RoleBinding, Tenant, User
from tenants.queries.access import as_of_now
from tenants.queries.people import get_person
from tenants.queries.tenants import get_tenant
from tenants.rules.access import Permission, Role, Viewer
from tenants.rules.names import LONGEST_NAME

ROLES = tuple(r.value for r in Role)
LOCK = 7_010_004  # of advisory locks: one at a time changes who may do what
# Roles without which a fleet stands still; the last person who has one keeps it.
NEEDED = (Role.OPERATOR, Role.APPROVER)


@transaction.atomic
def invite_person(
    viewer: Viewer, *, email: str, name: str = "", role: str, tenant: str = "", why: str = ""
) -> tuple[User, str]:
    """Create a person with one role. Answer the first password, which is shown once."""
    _lock(viewer)
    email = email.strip().lower()
    _check(email, name, role)
    password = mint_password()
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                email, password, name=name.strip(), password_is_once=_is_known_to_another(viewer)
            )
    except IntegrityError as error:
        raise Invalid(email="This person is here already: give the role there") from error
    record(viewer, "person.invite", user, after={"email": email, "name": user.name}, why=why)
    _bind(viewer, user, role, _tenant(viewer, tenant), why)
    return user, password


@transaction.atomic
def give_role(viewer: Viewer, user_id: int, *, role: str, tenant: str = "", why: str = "") -> None:
    """Without a tenant the role covers the whole fleet. Giving it again changes nothing."""
    user = _other(viewer, user_id)
    if role not in ROLES:
        raise Invalid(role=f"One of {', '.join(ROLES)}")
    _bind(viewer, user, role, _tenant(viewer, tenant), why)


@transaction.atomic
def take_role(viewer: Viewer, user_id: int, *, role: str, tenant: str = "", why: str = "") -> None:
    user = _other(viewer, user_id)
    of = _tenant(viewer, tenant)
    binding = RoleBinding.objects.filter(user=user, role=role, tenant=of).first()
    if binding is None:
        raise Conflict(f"{user.email} does not have this role")
    if of is None and user.is_active:
        _refuse_last(user, [Role(role)])
    facts = _facts(user, role, of)
    record(viewer, "role.take", user, before=facts, tenant_id=of.pk if of else None, why=why)
    binding.delete()


@transaction.atomic
def deactivate_person(viewer: Viewer, user_id: int, *, why: str = "") -> User:
    """End sign-in, sessions and tokens at once. What the person did stays on record."""
    user = _other(viewer, user_id)
    if not user.is_active:
        raise Conflict(f"{user.email} is not active")
    _refuse_last(user, NEEDED)
    user.is_active = False
    user.save(update_fields=["is_active"])
    ended, revoked = _end_sessions(user), _revoke_tokens(user)
    after = {"is_active": False, "sessions_ended": ended, "tokens_revoked": revoked}
    record(viewer, "person.deactivate", user, before={"is_active": True}, after=after, why=why)
    return user


@transaction.atomic
def reactivate_person(viewer: Viewer, user_id: int, *, why: str = "") -> User:
    """Let the person sign in again; sessions and tokens that were ended stay so."""
    user = _other(viewer, user_id)
    if user.is_active:
        raise Conflict(f"{user.email} is active")
    user.is_active = True
    user.save(update_fields=["is_active"])
    states = {"is_active": False}, {"is_active": True}
    record(viewer, "person.reactivate", user, before=states[0], after=states[1], why=why)
    return user


@transaction.atomic
def reset_password(viewer: Viewer, user_id: int, *, why: str = "") -> tuple[User, str]:
    """Answer a new password, shown once. It ends the person's sessions and second factor."""
    user = _other(viewer, user_id)
    password = mint_password()
    user.set_password(password)
    user.password_is_once = _is_known_to_another(viewer)
    user.save(update_fields=["password", "password_is_once"])
    factors, _ = Authenticator.objects.filter(user_id=user.pk).delete()
    after = {"second_factors_removed": factors}
    record(viewer, "person.reset_password", user, after=after, why=why)
    return user, password


@transaction.atomic
def end_session(viewer: Viewer, session_id: int) -> None:
    """End one of one's own sessions, say on a machine that was left open."""
    session = UserSession.objects.filter(pk=session_id, user_id=viewer.user_id).first()
    if session is None or viewer.user_id is None:
        raise NotFound("No such session of yours")
    where = {"ip": session.ip, "user_agent": session.user_agent}
    record(viewer, "session.end", session, before=where)
    session.end()


def _is_known_to_another(viewer: Viewer) -> bool:
    """What the machine itself makes is read by nobody but who runs it."""
    return viewer.via != "system"


def _lock(viewer: Viewer) -> None:
    """One at a time, who may do it at this moment: two who take each other's access would
    otherwise both find that the other is left.
    """
    viewer.require(Permission.MANAGE_PEOPLE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    as_of_now(viewer).require(Permission.MANAGE_PEOPLE)


def _other(viewer: Viewer, user_id: int) -> User:
    """Somebody else: nobody widens, or by mistake ends, what he may do himself."""
    _lock(viewer)
    user = get_person(viewer, user_id)
    if user.pk == viewer.user_id:
        raise Forbidden("Nobody changes his own roles or account here: ask another operator")
    return user


def _refuse_last(user: User, roles: Iterable[Role]) -> None:
    active = RoleBinding.objects.filter(tenant=None, user__is_active=True)
    for role in roles:
        having = set(active.filter(role=role).values_list("user_id", flat=True))
        if role in NEEDED and having == {user.pk}:
            raise Conflict(
                f"{user.email} is the last active {role} of the fleet: give somebody else the role"
                " first"
            )


def _bind(viewer: Viewer, user: User, role: str, tenant: Tenant | None, why: str) -> None:
    _, is_new = RoleBinding.objects.get_or_create(user=user, role=role, tenant=tenant)
    if is_new:
        facts = _facts(user, role, tenant)
        of = tenant.pk if tenant else None
        record(viewer, "role.give", user, after=facts, tenant_id=of, why=why)


def _tenant(viewer: Viewer, slug: str) -> Tenant | None:
    if not slug:
        return None
    try:
        return get_tenant(viewer, slug)
    except NotFound as error:
        raise Invalid(tenant="No such tenant") from error


def _end_sessions(user: User) -> int:
    sessions = list(UserSession.objects.filter(user_id=user.pk))
    for session in sessions:
        session.end()
    return len(sessions)


def _revoke_tokens(user: User) -> int:
    live = AccessToken.objects.filter(user=user, revoked_at=None)
    return live.update(revoked_at=Now())


def _facts(user: User, role: str, tenant: Tenant | None) -> dict[str, str]:
    return {"email": user.email, "role": role, "tenant": tenant.slug if tenant else "all tenants"}


def _check(email: str, name: str, role: str) -> None:
    faults = {}
    try:
        validate_email(email)
    except ValidationError:
        faults["email"] = "An address as in olga@example.com"
    if len(email) > 254:
        faults["email"] = "At most 254 characters"
    if len(name) > LONGEST_NAME:
        faults["name"] = f"At most {LONGEST_NAME} characters"
    if role not in ROLES:
        faults["role"] = f"One of {', '.join(ROLES)}"
    if faults:
        raise Invalid(**faults)
