"""Bind the tenant once, from the credential; nothing reads it from the request afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway import errors
from gateway.contract.outcomes import CLASS_RANK, Outcome, Reason, TrafficClass
from gateway.contract.policy import ApiKey, Tenant
from gateway.snapshots import Policy

KEY_PREFIX = "qmk_"
CLASS_HEADER = b"x-gw-class"


@dataclass(frozen=True, slots=True)
class TenantContext:
    """Who asks, and the policy they were admitted with."""

    tenant: Tenant
    key: ApiKey
    traffic_class: TrafficClass
    policy: Policy
    digest: str  # of the whole key

    def may_use(self, model: str) -> bool:
        if model not in self.tenant.models:
            return False
        return self.key.models is None or model in self.key.models


def authenticate(headers: dict[bytes, bytes], policy: Policy, now: float) -> TenantContext:
    """Return whose credential this is. `now`: seconds since the epoch."""
    digest = _digest_of(headers.get(b"authorization", b""))
    key = _find_key(digest, policy)
    tenant = policy.document.tenants.get(key.tenant_id) if key else None
    if key is None or tenant is None:
        raise errors.unauthenticated("This API key is not valid.")
    ceiling = max(tenant.traffic_class, key.traffic_class, key=CLASS_RANK.__getitem__)
    context = TenantContext(tenant, key, ceiling, policy, digest)
    if key.expires_at is not None and key.expires_at <= now:
        raise Unusable(context, errors.unauthenticated("This API key has expired.", Reason.EXPIRED))
    if tenant.suspended:
        message = f"The tenant {tenant.slug!r} is suspended."
        raise Unusable(context, errors.forbidden(message, Reason.SUSPENDED))
    return context


def withdrawn(context: TenantContext, policy: Policy) -> errors.Refusal | None:
    """Why a request that runs may not go on, by a newer policy; what it used is paid.

    A key that expires lets end what it began: nobody took it away.
    """
    tenant = policy.document.tenants.get(context.tenant.id)
    if _find_key(context.digest, policy) is None or tenant is None:
        refusal = errors.unauthenticated("This API key was revoked while the request ran.")
    elif tenant.suspended:
        message = f"The tenant {tenant.slug!r} was suspended while the request ran."
        refusal = errors.forbidden(message, Reason.SUSPENDED)
    else:
        return None
    refusal.outcome = Outcome.CANCELLED
    return refusal


class Unusable(Exception):
    """The credential is known, but may not be used: there is a tenant to record it for."""

    def __init__(self, context: TenantContext, refusal: errors.Refusal) -> None:
        super().__init__(refusal.message)
        self.context, self.refusal = context, refusal


def require_scope(context: TenantContext, scope: str) -> None:
    if scope not in context.key.scopes:
        message = f"This API key does not have the scope {scope!r}."
        raise errors.forbidden(message, Reason.SCOPE)


def asked_class(context: TenantContext, headers: dict[bytes, bytes]) -> TrafficClass:
    """A request may step down to a lower class. A higher one is refused, not lowered silently."""
    asked = headers.get(CLASS_HEADER)
    if asked is None:
        return context.traffic_class
    text = asked.decode("latin-1").lower()
    try:
        wanted = TrafficClass(text)
    except ValueError:
        names = ", ".join(TrafficClass)
        message = f"The traffic class {text!r} does not exist; choose from {names}."
        raise errors.invalid(message) from None
    if CLASS_RANK[wanted] < CLASS_RANK[context.traffic_class]:
        message = f"This API key is {context.traffic_class}; it may not ask for {wanted}."
        raise errors.forbidden(message, Reason.POLICY)
    return wanted


def _digest_of(header: bytes) -> str:
    scheme, _, token = header.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise errors.unauthenticated("Send your API key as 'Authorization: Bearer qmk_...'.")
    if not token.startswith(KEY_PREFIX.encode()):
        raise errors.unauthenticated("This is not an API key for inference: those begin with qmk_.")
    return hashlib.sha256(token).hexdigest()


def _find_key(digest: str, policy: Policy) -> ApiKey | None:
    return None if digest in policy.revoked else policy.document.keys.get(digest)
