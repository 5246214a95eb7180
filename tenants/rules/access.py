"""Who may do what. Pure: bindings in, answer out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tenants.errors import Forbidden, NotFound


class Role(StrEnum):
    """A binding without a tenant covers the fleet; with a tenant only that tenant's slice."""

    OPERATOR = "operator"
    APPROVER = "approver"
    FINANCE = "finance"
    VIEWER = "viewer"


class Permission(StrEnum):
    VIEW = "view"
    VIEW_MONEY = "view_money"
    VIEW_FLEET = "view_fleet"
    MANAGE_TENANTS = "manage_tenants"
    MANAGE_KEYS = "manage_keys"
    MANAGE_FLEET = "manage_fleet"
    PROPOSE = "propose"
    APPROVE = "approve"
    MANAGE_MONEY = "manage_money"
    MANAGE_PEOPLE = "manage_people"
    INGEST_USAGE = "ingest_usage"


ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OPERATOR: frozenset(
        {
            Permission.VIEW,
            Permission.VIEW_MONEY,
            Permission.VIEW_FLEET,
            Permission.MANAGE_TENANTS,
            Permission.MANAGE_KEYS,
            Permission.MANAGE_FLEET,
            Permission.PROPOSE,
            Permission.MANAGE_PEOPLE,
        }
    ),
    Role.APPROVER: frozenset(
        {Permission.VIEW, Permission.VIEW_FLEET, Permission.APPROVE, Permission.VIEW_MONEY}
    ),
    Role.FINANCE: frozenset({Permission.VIEW, Permission.VIEW_MONEY, Permission.MANAGE_MONEY}),
    Role.VIEWER: frozenset({Permission.VIEW, Permission.VIEW_FLEET}),
}
# A tenant's own people never touch the fleet or prices, whatever their role's name.
TENANT_SLICE = frozenset({Permission.VIEW, Permission.VIEW_MONEY, Permission.MANAGE_KEYS})


@dataclass(frozen=True, slots=True)
class Binding:
    role: Role
    tenant_id: int | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks: a person in a session, or a token acting within its scopes.

    `allowed` narrows a token to its scopes; None leaves the roles as they are.
    """

    user_id: int | None
    email: str
    bindings: tuple[Binding, ...] = ()
    allowed: frozenset[Permission] | None = None
    token_id: int | None = None
    via: str = "session"  # session, token, command, system
    source_id: int | None = None  # usage source, when a gateway speaks
    request_id: str = field(default="", compare=False)
    address: str = field(default="", compare=False)  # from where the request came
    credential: str = field(default="", compare=False)  # public name of a token; empty: a session

    @property
    def is_fleet(self) -> bool:
        """Sees all tenants."""
        return any(b.tenant_id is None for b in self.bindings)

    @property
    def tenant_ids(self) -> tuple[int, ...]:
        return tuple(sorted({b.tenant_id for b in self.bindings if b.tenant_id is not None}))

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(b.role.value for b in self.bindings))

    def may(self, permission: Permission, tenant_id: int | None = None) -> bool:
        """May this viewer do it: to the fleet (no tenant), or to that tenant's slice?"""
        if self.allowed is not None and permission not in self.allowed:
            return False
        return any(grants(b, permission, tenant_id) for b in self.bindings)

    def may_somewhere(self, permission: Permission) -> bool:
        """May this viewer do it to the fleet, or to at least one tenant's slice?"""
        return self.may(permission) or any(self.may(permission, t) for t in self.tenant_ids)

    def require(self, permission: Permission, tenant_id: int | None = None) -> None:
        """Refuse with `Forbidden`, or with `NotFound` where it is not theirs to see at all."""
        if self.may(permission, tenant_id):
            return
        if not self.is_fleet and tenant_id not in self.tenant_ids:
            raise NotFound("There is nothing here, or it is not yours to see")
        raise Forbidden(f"This needs the permission '{permission}', which your roles do not give")


def grants(binding: Binding, permission: Permission, tenant_id: int | None) -> bool:
    if permission not in ROLE_PERMISSIONS[binding.role]:
        return False
    if binding.tenant_id is None:
        return True
    return tenant_id == binding.tenant_id and permission in TENANT_SLICE


def system_viewer(name: str, permissions: Iterable[Permission] = Permission) -> Viewer:
    """The machine itself, for what no person asked for; named in the audit."""
    return Viewer(
        user_id=None,
        email=f"system:{name}",
        bindings=(Binding(Role.OPERATOR), Binding(Role.FINANCE)),
        allowed=frozenset(permissions),
        via="system",
    )
