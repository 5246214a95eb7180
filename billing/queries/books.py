"""Prices as the rating needs them."""

from collections import defaultdict
from decimal import Decimal

from billing.models import Price, PriceBookVersion
from billing.rules.rating import BookVersion


def read_books() -> dict[str, list[BookVersion]]:
    """Published versions that hold at some time, by currency, oldest first."""
    versions = (
        PriceBookVersion.objects.filter(published_at__isnull=False, effective__isempty=False)
        .select_related("book")
        .order_by("book_id", "number")
    )
    prices: dict[int, dict[tuple[str, str, str], Decimal]] = defaultdict(dict)
    rows = Price.objects.filter(book_version__in=versions)
    for version_id, model, meter, traffic_class, unit_price in rows.values_list(
        "book_version_id", "model", "meter", "traffic_class", "unit_price"
    ):
        prices[version_id][model, meter, traffic_class] = unit_price
    found: dict[str, list[BookVersion]] = defaultdict(list)
    for v in versions:
        found[v.book.currency].append(
            BookVersion(
                id=v.pk,
                currency=v.book.currency,
                starts_at=v.effective.lower,
                ends_at=v.effective.upper,
                prices=prices[v.pk],
            )
        )
    return dict(found)
