"""Repeats of a write get the first answer again."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models.functions import Now

from tenants.errors import Invalid
from tenants.models import IdempotencyRecord
from tenants.rules.access import Viewer

LONGEST_KEY = 255
KEPT_FOR = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Claim:
    record_id: int
    answer: tuple[int, Any, dict[str, str]] | None  # status, body, headers of the first time


@transaction.atomic
def claim_key(viewer: Viewer, key: str, fingerprint: str) -> Claim:
    """Claim `key` for this principal in the open transaction.

    The unique index makes a second request wait until the first commits; then it finds the
    answer. If the first rolls back, the second does the work.
    """
    if len(key) > LONGEST_KEY:
        raise Invalid(**{"Idempotency-Key": f"At most {LONGEST_KEY} characters"})
    principal = _principal(viewer)
    IdempotencyRecord.objects.bulk_create(
        [IdempotencyRecord(principal=principal, key=key, fingerprint=fingerprint)],
        ignore_conflicts=True,
    )
    record = IdempotencyRecord.objects.get(principal=principal, key=key)
    if record.fingerprint != fingerprint:
        raise Invalid(**{"Idempotency-Key": "This key was used for another request"})
    if record.status is None:
        return Claim(record.pk, None)
    body = json.loads(bytes(record.body)) if record.body else None
    return Claim(record.pk, (record.status, body, record.headers))


def keep_answer(
    claim: Claim, status: int, data: Any, headers: dict[str, str] | None = None
) -> None:
    body = None if data is None else json.dumps(data, cls=DjangoJSONEncoder).encode()
    rows = IdempotencyRecord.objects.filter(pk=claim.record_id)
    rows.update(status=status, body=body, headers=headers or {})


def forget_old() -> int:
    """Drop answers that no client repeats any more."""
    count, _ = IdempotencyRecord.objects.filter(created_at__lt=Now() - KEPT_FOR).delete()
    return count


def _principal(viewer: Viewer) -> str:
    if viewer.source_id:
        return f"source:{viewer.source_id}"
    return f"token:{viewer.token_id}" if viewer.token_id else f"user:{viewer.user_id}"
