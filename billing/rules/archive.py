"""Files of requests that are dropped: their columns, and what is compared with the database.

The digest of a file's requests is made as the database makes that of a part: of the digests of its
tenants' days, in the order of day and tenant; that of a day is of the digests of its requests, in
the order of the file; that of a request is of a JSON array of what decides what it costs.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from billing.rules.batches import CODED, Columns

# Other columns are another schema: readers of old files know them by it.
SCHEMA = "quartermaster.usage_event.1"
# Names with the types of their cells; a list is JSON as text.
COLUMNS = (
    ("id", "whole"), ("request_id", "id"), ("source_id", "whole"), ("tenant_id", "whole"),
    ("application_id", "whole"), ("credential_id", "whole"), ("model", "text"),
    ("service_id", "whole"), ("deployment_id", "whole"), ("release_id", "whole"),
    ("release", "text"), ("cluster", "text"), ("pod", "text"), ("traffic_class", "text"),
    ("outcome", "text"), ("reason", "text"), ("modifiers", "list"), ("rerouted_from", "text"),
    ("stream", "flag"), ("http_status", "whole"), ("finish_reason", "text"),
    ("usage_quality", "text"), ("prompt_tokens", "whole"), ("cached_tokens", "whole"),
    ("completion_tokens", "whole"), ("started_at", "time"), ("event_time", "time"),
    ("queue_ms", "real"), ("ttft_ms", "real"), ("itl_ms", "real"), ("itl_p95_ms", "real"),
    ("gpu_ms", "whole"), ("worker", "text"), ("policy_version", "whole"),
    ("routing_version", "whole"), ("price_version", "whole"), ("limit_versions", "list"),
    ("engine_id", "text"), ("demo", "flag"), ("gpus", "whole"), ("gpu_product", "text"),
    ("hosted", "text"), ("stored_at", "time"),
)  # fmt: skip
# Of a cell as it comes from the database: times as microseconds since the epoch.
READ_AS = {
    "whole": pa.int64(), "id": pa.string(), "text": CODED, "list": CODED, "flag": pa.bool_(),
    "real": pa.float64(), "time": pa.int64(),
}  # fmt: skip
DECIDES = (
    "request_id", "source_id", "tenant_id", "application_id", "model", "service_id", "release",
    "traffic_class", "outcome", "reason", "usage_quality", "prompt_tokens", "cached_tokens",
    "completion_tokens", "gpu_ms", "gpus", "gpu_product", "hosted", "event_time",
)  # fmt: skip
SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ms")
DAY_US = 86_400_000_000
MOMENT = timedelta(microseconds=1)


class Contents:
    """What is in a file, added up batch by batch in its order."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter(dict.fromkeys(SUMS, 0))
        self._days: dict[tuple[int, int], Any] = {}  # (day, tenant): a hash under way

    @property
    def sums(self) -> dict[str, int]:
        return dict(self._sums)

    @property
    def sha256(self) -> str:
        found = hashlib.sha256()
        for key in sorted(self._days):
            found.update(self._days[key].digest())
        return found.hexdigest()

    def take(self, columns: Columns) -> None:
        at = columns["event_time"].cast(pa.int64())
        self._sums["requests"] += len(at)
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
            self._sums[name] += pc.sum(columns[name]).as_py() or 0
        gpu_ms = pc.multiply(columns["gpu_ms"], columns["gpus"])
        self._sums["gpu_ms"] += pc.sum(gpu_ms).as_py() or 0
        cells = [json_texts(at if name == "event_time" else columns[name]) for name in DECIDES]
        rows = pc.binary_join_element_wise(*cells, ", ").to_pylist()
        days = pc.divide(at, DAY_US).to_pylist()
        for row, *key in zip(rows, days, columns["tenant_id"].to_pylist(), strict=True):
            of_day = self._days.setdefault((key[0], key[1]), hashlib.sha256())
            of_day.update(hashlib.sha256(f"[{row}]".encode()).digest())


def json_texts(cells: pa.Array) -> pa.Array:
    """Of whole numbers and texts, as members of an array."""
    if pa.types.is_integer(cells.type):
        return pc.fill_null(cells.cast(pa.string()), "null")
    coded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    texts = [json.dumps(text, ensure_ascii=False) for text in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


def path_of(part: str, ends_at: datetime) -> str:
    """Below the folder, by the month of its last day; the same in each try."""
    return f"{ends_at - MOMENT:%Y/%m}/{part}.parquet"


def manifest_of(
    part: str, span: tuple[datetime | None, datetime], told: Mapping[str, Any]
) -> dict[str, Any]:
    """What stands beside a file; `told` is what the database keeps of it."""
    starts_at, ends_at = span
    return {
        "file": told["file"].rpartition("/")[2],
        "part": part,
        "schema": SCHEMA,
        "columns": [name for name, _ in COLUMNS],
        "range": [starts_at.isoformat() if starts_at else None, ends_at.isoformat()],
        "rows": told["requests"],
        "sums": {name: told[name] for name in SUMS[1:]},
        "bytes": told["bytes"],
        "sha256": told["sha256"],
        "content_sha256": told["content_sha256"],
    }
