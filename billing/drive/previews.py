"""The pass over previews of prices: some tenants at a time, each part kept before the next."""

from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from billing.models import PricePreview
from billing.queries.preview import digest_of_prices, price_twice, tenants_of
from tenants.base.scope import fleet_scope

TENANTS = 5  # a pass: some seconds of a large fleet's month


def work_due(now: datetime) -> int:
    """Move each preview that is due by some tenants. Returns how many moved."""
    with fleet_scope():
        due = PricePreview.due()
    return sum(_move(pk, now) for pk in due)


def _move(preview_id: int, now: datetime) -> int:
    with fleet_scope():
        claim = PricePreview.take_claim(preview_id)
    if claim is None:
        return 0
    try:
        with fleet_scope():
            preview = PricePreview.objects.select_related("version__book").get(pk=preview_id)
            return int(PricePreview.record(preview_id, claim, **_next_part(preview, now)))
    except Exception:  # a poisoned row must not stop the others
        with fleet_scope():
            PricePreview.park(preview_id, claim)
        raise


def _next_part(preview: PricePreview, now: datetime) -> dict[str, Any]:
    digest = digest_of_prices(preview.version)
    if digest != preview.digest:  # edited meanwhile: the parts must be of the same prices
        return {"digest": digest, "reached": 0, "tenants_done": 0, "lines": [], "look_again": Now()}
    left = [t for t in tenants_of(preview.version.book) if t.id > preview.reached]
    part = left[:TENANTS]
    found = price_twice(preview.version, part, now=preview.requested_at)
    changes: dict[str, Any] = {
        "lines": preview.lines + [line.as_json() for line in found if not line.is_empty],
        "tenants_done": preview.tenants_done + len(part),
        "failures": 0,
    }
    if len(left) > len(part):
        return {**changes, "reached": part[-1].id, "look_again": Now()}
    done = {"state": PricePreview.State.DONE.value, "tenants": changes["tenants_done"]}
    return {**changes, **done, "finished_at": now, "look_again": None}
