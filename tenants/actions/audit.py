"""The record of who did what. Written in the transaction of the change itself."""

from contextlib import nullcontext
from dataclasses import asdict, is_dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Model

from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tenants.rules.access import Viewer

State = dict[str, Any] | Model | None
LONGEST_ADDRESS = 45
SECRET_FIELDS = frozenset({"password", "digest", "document", "kubeconfig", "last_login"})


def record(
    viewer: Viewer,
    verb: str,
    target: Model,
    *,
    before: State = None,
    after: State = None,
    why: str = "",
    tenant_id: int | None = None,
) -> None:
    """Write one audit event about `target`.

    `before` and `after` are dictionaries, or rows to take a picture of (secrets left out).
    Take the picture of a row with `picture(row)` before changing it.
    """
    if tenant_id is None:
        tenant_id = getattr(target, "tenant_id", None)
    # A tenant's people may not write rows of no tenant, but what they do with their own account
    # (a token of theirs, say) is recorded too.
    personal = tenant_id is None and not viewer.is_fleet
    with fleet_scope() if personal else nullcontext():
        AuditEvent.objects.create(
            actor_id=viewer.user_id,
            actor=viewer.email,
            via=viewer.via,
            address=viewer.address[:LONGEST_ADDRESS],
            credential=viewer.credential,
            verb=verb,
            target_kind=target._meta.model_name or "",
            target_id=str(target.pk),
            target_name=str(target)[:200],
            tenant_id=tenant_id,
            why=why,
            before=plain(before),
            after=plain(after),
            request_id=viewer.request_id,
        )


def picture(row: Model) -> dict[str, Any]:
    """All columns of a row by name, secrets left out, as plain JSON values."""
    fields = (f for f in row._meta.concrete_fields if f.name not in SECRET_FIELDS)
    return {
        f.attname: getattr(row, f.attname) for f in fields if not isinstance(f, models.BinaryField)
    }


def plain(state: State) -> Any:
    if isinstance(state, Model):
        state = picture(state)
    elif is_dataclass(state) and not isinstance(state, type):
        state = asdict(state)
    if state is None:
        return None
    encoder = DjangoJSONEncoder()
    return {k: v if _is_plain(v) else _through_json(encoder, v) for k, v in state.items()}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | bool)


def _through_json(encoder: DjangoJSONEncoder, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [v if _is_plain(v) else _through_json(encoder, v) for v in value]
    if isinstance(value, dict):
        return {str(k): _through_json(encoder, v) for k, v in value.items()}
    return value if _is_plain(value) or isinstance(value, float) else encoder.default(value)
