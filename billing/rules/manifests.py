"""The manifest beside an exported file: what is in it, as of when, and how to check it."""

import json
from typing import TypedDict


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
    watermark: int  # newest charge in the snapshot
    corrections: str


def as_text(manifest: Manifest) -> str:
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
