"""What a run of rating was made from, kept beside the digest of it all."""

from collections.abc import Mapping
from typing import Any

from billing.rules.tariffs import Tariff

DUE = "SELECT min(hour), max(hour), max(rolled_at) FROM rate_due"


def inputs_of(cursor: Any, tariffs: Mapping[int, Tariff]) -> dict[str, Any]:
    """Of the hours that are due: the first, the last, up to when their usage was rolled up, and
    the published versions that hold for one of them, of lists and of contracts."""
    cursor.execute(DUE)
    first, last, cut_off = cursor.fetchone()
    versions = {
        book.id
        for tariff in tariffs.values()
        for book in (*tariff.book, *tariff.contract)
        if book.starts_at <= last and (book.ends_at is None or first < book.ends_at)
    }
    return {
        "first_hour": first,
        "last_hour": last,
        "cut_off": cut_off,
        "book_versions": sorted(versions),
    }
