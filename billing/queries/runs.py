"""Runs of rating, and what each was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from billing.models import PriceBookVersion, RatingRun
from billing.queries.visibility import require_money
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class UsedVersion:
    book: str  # slug
    number: int
    currency: str
    tenant_id: int | None  # of a contract
    starts_at: datetime | None
    ends_at: datetime | None


def list_runs(viewer: Viewer) -> QuerySet[RatingRun]:
    """Newest first. A run is of all tenants at once."""
    require_money(viewer)
    return RatingRun.objects.order_by("-id")


def get_run(viewer: Viewer, run_id: int) -> RatingRun:
    run = list_runs(viewer).filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"There is no run {run_id}")
    return run


def versions_of(viewer: Viewer, run: RatingRun) -> Sequence[UsedVersion] | None:
    """Lists, and contracts of the viewer's tenants. None: the run is from before they were kept."""
    if run.book_versions is None:
        return None
    rows = PriceBookVersion.objects.filter(pk__in=run.book_versions).select_related("book")
    return [
        UsedVersion(
            book=row.book.slug,
            number=row.number,
            currency=row.book.currency,
            tenant_id=row.book.tenant_id,
            starts_at=row.effective.lower if row.effective else None,
            ends_at=row.effective.upper if row.effective else None,
        )
        for row in rows.order_by("book__slug", "number")
        if row.book.tenant_id is None or viewer.may(Permission.VIEW_MONEY, row.book.tenant_id)
    ]
