"""Repeats of a write get the first answer again."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from tenants.errors import Conflict, Invalid
from tenants.models import IdempotencyRecord
from tenants.rules.access import Viewer

LONGEST_KEY = 255
KEPT_FOR = timedelta(hours=72)
HOLD = timedelta(minutes=10)  # longer than any request takes: then its process was killed


@dataclass(frozen=True, slots=True)
class Claim:
    record_id: int
    answer: tuple[int, Any, dict[str, str]] | None  # status, body, headers of the first time


def claim_key(viewer: Viewer, key: str, fingerprint: str) -> Claim:
    """Claim `key` for this principal.

    In an open transaction the unique index makes a second request wait until the first commits;
    then it finds the answer. If the first rolls back, the second does the work. Outside of one,
    others see the claim at once: they are refused until `keep_answer` or `let_go`.
    """
    if len(key) > LONGEST_KEY:
        raise Invalid(**{"Idempotency-Key": f"At most {LONGEST_KEY} characters"})
    is_seen = not connection.in_atomic_block
    with transaction.atomic():
        record, _ = IdempotencyRecord.objects.get_or_create(
            principal=_principal(viewer), key=key, defaults={"fingerprint": fingerprint}
        )
        if record.fingerprint != fingerprint:
            raise Invalid(**{"Idempotency-Key": "This key was used for another request"})
        if record.status is None:
            if is_seen:
                _hold(record)
            return Claim(record.pk, None)
    body = json.loads(bytes(record.body)) if record.body else None
    return Claim(record.pk, (record.status, body, record.headers))


def _hold(record: IdempotencyRecord) -> None:
    free = Q(held_until=None) | Q(held_until__lte=Now())
    rows = IdempotencyRecord.objects.filter(free, pk=record.pk, status=None)
    if not rows.update(held_until=Now() + HOLD):
        raise Conflict("The first request with this key is not answered yet: repeat it later")


def let_go(claim: Claim) -> None:
    """A request that was refused has done nothing: the next with this key may."""
    IdempotencyRecord.objects.filter(pk=claim.record_id, status=None).update(held_until=None)


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
