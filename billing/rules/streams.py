"""Rows as text, one by one: NDJSON for programs, CSV for tables. Numbers are exact."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.rules.focus import plain

NDJSON, CSV = "ndjson", "csv"
MEDIA_TYPES = {NDJSON: "application/x-ndjson", CSV: "text/csv"}
COLUMNS = (
    "id", "hour", "tenant_id", "application_id", "model", "traffic_class", "meter", "quantity",
    "unit_price", "amount", "currency", "run_id", "price_book", "price_version", "runs_on",
)  # fmt: skip

USAGE_COLUMNS = (
    "hour", "tenant_id", "application_id", "model", "service_id", "traffic_class", "outcome",
    "release", "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ms",
    "before_ms", "hosted", "gpu_product",
)  # fmt: skip
ALLOCATION_COLUMNS = (
    "id", "hour", "kind", "tenant_id", "application_id", "model", "release", "cluster",
    "node_pool", "capacity", "profile", "product", "state", "pool_id", "weight", "amount", "saved",
    "currency", "method",
)  # fmt: skip


def head(file_type: str, columns: Sequence[str] = COLUMNS) -> bytes:
    return (",".join(columns) + "\n").encode() if file_type == CSV else b""


def as_text(
    rows: Sequence[Mapping[str, Any]], file_type: str, columns: Sequence[str] = COLUMNS
) -> bytes:
    return as_csv(rows, columns) if file_type == CSV else as_ndjson(rows, columns)


def as_ndjson(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    lines = [
        json.dumps({c: written(row[c]) for c in columns}, separators=(",", ":")) for row in rows
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        values = (row[c] for c in columns)
        writer.writerow([plain(v) if isinstance(v, str) else written(v) for v in values])
    return text.getvalue().encode()


def written(value: Any) -> Any:
    """As the other answers of the API write it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def sums_header(sums: Mapping[str, Decimal]) -> str:
    """As USD=48.87, EUR=1.5."""
    return ", ".join(f"{currency}={amount:f}" for currency, amount in sorted(sums.items()))
