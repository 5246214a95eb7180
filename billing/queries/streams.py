"""All charges of a filter in pieces, oldest hour first: no transaction waits for a slow client.

Charges are only ever added, so those up to the newest one of the beginning stay what they were:
it begins when no lane of rating is at work, whose numbers might still come among them.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count, F, Max, Q, Sum

from billing.models import Charge
from billing.queries.charged import ChargeFilter
from billing.queries.money import conditions
from billing.rules.lanes import LANES, RATING_LOCK
from billing.rules.streams import COLUMNS
from tenants.rules.access import Viewer

SETTLED = "SELECT pg_advisory_xact_lock_shared(%s, %s)"
NAMES = {"price_book": F("book_version__book__slug"), "price_version": F("book_version__number")}


@dataclass(frozen=True, slots=True)
class Stream:
    """What will be read, as it stood when it began."""

    wanted: ChargeFilter
    newest: int
    rows: int
    sums: dict[str, Decimal]  # by currency


def begin(viewer: Viewer, wanted: ChargeFilter) -> Stream:
    with connection.cursor() as cursor:
        for lane in LANES:
            cursor.execute(
                "SELECT pg_advisory_xact_lock_shared(%s, %s)", [RATING_LOCK, lane.number]
            )
    found = Charge.objects.filter(**conditions(viewer, wanted)).values("currency")
    parts = list(found.annotate(sum=Sum("amount"), rows=Count("id"), newest=Max("id")))
    return Stream(
        wanted=wanted,
        newest=max((p["newest"] for p in parts), default=0),
        rows=sum(p["rows"] for p in parts),
        sums={p["currency"]: p["sum"] for p in parts},
    )


def next_rows(
    viewer: Viewer, stream: Stream, after: dict[str, Any] | None, most: int
) -> list[dict[str, Any]]:
    """The next ones after a row of before."""
    rows = Charge.objects.filter(**conditions(viewer, stream.wanted), id__lte=stream.newest)
    if after is not None:
        later = Q(hour__gt=after["hour"]) | Q(id__gt=after["id"])
        rows = rows.filter(later, hour__gte=after["hour"])
    found: list[dict[str, Any]] = list(
        rows.order_by("hour", "id").annotate(**NAMES).values(*COLUMNS)[:most]
    )
    return found
