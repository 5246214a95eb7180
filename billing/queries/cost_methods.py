"""Which method shares cost from when, and what tokens of releases weigh."""

from datetime import datetime

from django.db.models import QuerySet

from billing.models import CostMethod, WorkWeight
from billing.rules.token_work import Choice, Weights
from tenants.rules.access import Permission, Viewer


def read_choices() -> list[Choice]:
    """In the order in which they count."""
    rows = CostMethod.objects.order_by("starts_at", "id")
    return [Choice(*row) for row in rows.values_list("method", "starts_at")]


def read_weights(hour: datetime) -> dict[str, Weights]:
    """Of each release the newest that counts at the hour; one that is not usable ends them."""
    newest = (
        WorkWeight.objects.filter(starts_at__lte=hour)
        .order_by("release", "-starts_at", "-number")
        .distinct("release")
    )
    return {
        row.release: Weights(row.prefill_ns, row.decode_ns, row.number)
        for row in newest
        if row.usable
    }


def list_choices(viewer: Viewer) -> QuerySet[CostMethod]:
    """The latest start first."""
    viewer.require(Permission.VIEW_MONEY)
    return CostMethod.objects.order_by("-starts_at", "-id")


def list_weights(viewer: Viewer) -> QuerySet[WorkWeight]:
    """The newest first; of each release, the first is what counts."""
    viewer.require(Permission.VIEW_MONEY)
    return WorkWeight.objects.order_by("-starts_at", "release", "-number")
