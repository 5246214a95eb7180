"""The manifest beside an exported file: what is in it, as of when, and how to check it."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict

HOUR = timedelta(hours=1)


class Checked(TypedDict):
    """A file whose rows break a rule gets no name, so of a finished one `errors` is 0."""

    errors: int
    rows: int  # each of them was looked at
    documents: int  # invoices and credit notes whose rows add up to their totals
    rules: list[str]


class Manifest(TypedDict):
    file: str
    schema: str  # whose columns, in which version
    columns: list[str]
    rows: int
    bytes: int
    sha256: str
    sums: dict[str, str]  # currency: exact sum of BilledCost or amount
    range: list[str]  # from, until
    complete_until: str  # usage before this is in the file
    is_complete: bool  # all of the range is
    hours: int  # of the range
    hours_complete: int  # whose usage, or cost, is in the file
    checks: Checked
    watermark: int  # newest charge in the snapshot
    corrections: str


def hours_complete(starts_at: datetime, ends_at: datetime, until: datetime) -> tuple[int, int]:
    """Of how many hours of a range the file is complete; a part of an hour is one."""
    whole = -(-(ends_at - starts_at) // HOUR)
    return (whole if until >= ends_at else max(0, (until - starts_at) // HOUR)), whole


def as_text(manifest: Mapping[str, object]) -> str:
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
