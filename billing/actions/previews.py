"""Ask what a version of prices would have made of last month. `billing.drive` works it out."""

from datetime import datetime

from django.db import transaction

from billing.models import PriceBookVersion, PricePreview
from billing.queries.preview import digest_of_prices, find_version, last_month, tenants_of
from tenants.actions.audit import record
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

TASK = "billing.tasks.preview_prices"


@transaction.atomic
def request_preview(viewer: Viewer, slug: str, number: int, *, now: datetime) -> PricePreview:
    """Ask for a preview. One of the same prices that is still worked out is not begun anew."""
    viewer.require(Permission.VIEW_MONEY)
    version = find_version(slug, number)
    PriceBookVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
    asked = {"digest": digest_of_prices(version), "month": last_month(now)}
    waiting = version.previews.filter(state=PricePreview.State.WAITING, **asked).first()
    if waiting is not None:
        return waiting
    preview = PricePreview.objects.create(
        version=version,
        tenants=len(tenants_of(version.book)),
        requested_by=viewer.email,
        requested_at=now,
        look_again=now,
        **asked,
    )
    record(viewer, "price_book.preview", version, after=asked, tenant_id=version.book.tenant_id)
    nudge(TASK)
    return preview
