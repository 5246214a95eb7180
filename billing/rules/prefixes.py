"""What a store of prefixes reports: how much it kept for a tenant, over a time within one hour.

A CloudEvent of its own type, because it is no request. No engine says whose prefixes it keeps, so
the store does, whatever it is. Pure: bytes and `now` in, a report or a reason out.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from billing.rules.events import (
    FUTURE,
    LARGEST,
    LATEST,
    LENGTHS,
    MAX_LATE,
    Reason,
    Refused,
    moment,
    name_of,
    once,
)

PREFIXES_TYPE = "quartermaster.prefixes.v1"
MARK = PREFIXES_TYPE.encode()
SCHEMA = 1
HOUR = 3_600_000_000  # microseconds
MOST = 10**9  # GiB-hours of one report
DECIMALS = 6
LONGEST = 30  # digits: zeros without end are no number for a table


class PrefixData(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds since the epoch (UTC): [started_at, finished_at)."""

    schema: int = SCHEMA
    tenant_id: int
    application_id: int
    model: str  # whose prefixes they are, by the name that clients ask for
    gib_hours: Decimal  # the GiB that were kept x the hours of the span
    started_at: int
    finished_at: int


class PrefixEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent 1.0. Other attributes may be there and mean nothing."""

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: Literal["quartermaster.prefixes.v1"]
    time: datetime
    data: PrefixData


class Typed(msgspec.Struct):
    type: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    event_id: str
    event: PrefixData
    sha: bytes  # of what it says, whatever its spelling
    raw: bytes


_type_of = msgspec.json.Decoder(Typed).decode
_decode = msgspec.json.Decoder(PrefixEvent).decode


def is_report(raw: bytes) -> bool:
    """Of most events, which are requests, a look at the bytes is enough."""
    if MARK not in raw:
        return False
    try:
        return _type_of(raw).type == PREFIXES_TYPE
    except (msgspec.MsgspecError, RecursionError):
        return False


def read_report(raw: bytes, now: datetime | None) -> Kept | Refused:
    """Judge one by itself; without `now`, the rules about its time are waived."""
    try:
        found = _decode(raw)
        json.loads(raw, object_pairs_hook=once)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Refused(name_of(raw), Reason.BAD_SCHEMA, str(error), raw)
    name, data = str(found.id), found.data
    if fault := fault_of(data, raw):
        return Refused(name, Reason.BAD_SCHEMA, fault, raw)
    ended = moment(data.finished_at)
    if now is not None and ended > now + FUTURE:
        detail = f"It ended {ended - now} from now; at most {FUTURE} is a difference of clocks"
        return Refused(name, Reason.FUTURE, detail, raw)
    if now is not None and ended < now - MAX_LATE:
        detail = f"It ended {(now - ended).days} days ago; {MAX_LATE.days} are taken"
        return Refused(name, Reason.TOO_LATE, detail, raw)
    return Kept(name, data, hashlib.sha256(said(data)).digest(), raw)


def said(data: PrefixData) -> bytes:
    """The same report in the same bytes, however its number was spelled."""
    whole = int(data.gib_hours.scaleb(DECIMALS))
    fields = msgspec.structs.asdict(data) | {"gib_hours": whole}
    return json.dumps(fields, sort_keys=True).encode()


def fault_of(data: PrefixData, raw: bytes) -> str:
    """The first fault in words, empty when there is none."""
    if data.schema != SCHEMA:
        return f"data.schema is {data.schema}; this door reads {SCHEMA}"
    if not 0 <= data.tenant_id <= LARGEST or not 0 <= data.application_id <= LARGEST:
        return "data.tenant_id or data.application_id is out of range"
    if not 0 < len(data.model) <= LENGTHS["model"] or b"\\u0000" in raw:
        return f"data.model is empty, longer than {LENGTHS['model']}, or holds the character NUL"
    if not data.gib_hours.is_finite() or not 0 <= data.gib_hours <= MOST:
        return f"data.gib_hours is not between 0 and {MOST:,}"
    if abs(data.gib_hours.adjusted()) > LONGEST or data.gib_hours % Decimal(1).scaleb(-DECIMALS):
        return f"data.gib_hours has more than {DECIMALS} decimals"
    if not 0 <= data.started_at < data.finished_at <= LATEST:
        return "data.started_at and data.finished_at are not in order"
    if data.started_at // HOUR != (data.finished_at - 1) // HOUR:
        return "data.started_at and data.finished_at are not in one hour: send a report for each"
    return ""
