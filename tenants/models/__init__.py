from tenants.models.access import AccessToken, ModelGrant, RoleBinding, UsageSource
from tenants.models.audit import AuditEvent
from tenants.models.change import ChangeRequest
from tenants.models.idempotency import IdempotencyRecord
from tenants.models.price import PublishedPrice
from tenants.models.quota import Quota
from tenants.models.snapshot import RoutingReader, Snapshot
from tenants.models.tenant import ApiKey, Application, Tenant
from tenants.models.user import User

__all__ = [
    "AccessToken",
    "ApiKey",
    "Application",
    "AuditEvent",
    "ChangeRequest",
    "IdempotencyRecord",
    "ModelGrant",
    "PublishedPrice",
    "Quota",
    "RoleBinding",
    "RoutingReader",
    "Snapshot",
    "Tenant",
    "UsageSource",
    "User",
]
