"""What can be read of an event, also of one that is not as it should be."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

import msgspec

from billing.rules.events import LATEST, moment

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Origin:
    ended: datetime | None = None
    worker: str = ""


def origin_of(raw: bytes) -> Origin:
    try:
        found = _decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return Origin()
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        return Origin()
    end, worker = data.get("finished_at"), data.get("worker")
    is_time = isinstance(end, int) and not isinstance(end, bool) and 0 <= end <= LATEST
    is_text = isinstance(worker, str)
    return Origin(
        moment(cast(int, end)) if is_time else None,
        cast(str, worker).replace("\0", "")[:128] if is_text else "",
    )
