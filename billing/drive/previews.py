"""The pass over previews of prices: some tenants at a time, each part kept before the next."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from billing.models import PricePreview, PricePreviewLine
from billing.queries.preview import PreviewLine, digest_of_prices, price_twice, tenants_of
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope

TENANTS = 5  # a pass: some seconds of a large fleet's month


def work_due(now: datetime) -> int:
    """Move each preview that is due by some tenants. Returns how many moved."""
    with fleet_scope():
        due = PricePreview.due()
    return sum(_move(pk, now) for pk in due)


def _move(preview_id: int, now: datetime) -> int:
    with claimed(PricePreview, preview_id) as claim:
        if claim is None:
            return 0
        with fleet_scope():
            preview = PricePreview.objects.select_related("version__book").get(pk=preview_id)
            digest = digest_of_prices(preview.version)
            if digest != preview.digest:
                return _begin_again(preview, claim, digest)
            return _next_part(preview, claim, now)


def _begin_again(preview: PricePreview, claim: UUID, digest: str) -> int:
    """The prices were edited meanwhile: all lines must be of the same ones."""
    changes = {"digest": digest, "reached": 0, "tenants_done": 0, "look_again": Now()}
    if not PricePreview.record(preview.pk, claim, **changes):
        return 0
    preview.lines.all().delete()
    return 1


def _next_part(preview: PricePreview, claim: UUID, now: datetime) -> int:
    left = [t for t in tenants_of(preview.version.book) if t.id > preview.reached]
    part = left[:TENANTS]
    found = price_twice(preview.version, part, now=preview.requested_at)
    changes: dict[str, Any] = {"tenants_done": preview.tenants_done + len(part), "failures": 0}
    if len(left) > len(part):
        changes |= {"reached": part[-1].id, "look_again": Now()}
    else:
        done = PricePreview.State.DONE.value
        changes |= {"state": done, "tenants": changes["tenants_done"]}
        changes |= {"finished_at": now, "look_again": None}
    if not PricePreview.record(preview.pk, claim, **changes):
        return 0
    PricePreviewLine.objects.bulk_create(_row(preview, line) for line in found if not line.is_empty)
    return 1


def _row(preview: PricePreview, line: PreviewLine) -> PricePreviewLine:
    return PricePreviewLine(
        preview=preview,
        tenant_id=line.tenant_id,
        old=line.old,
        new=line.new,
        unpriced_before=line.unpriced_before,
        unpriced=line.unpriced,
    )
