"""What makes a usage event acceptable. Pure: bytes and `now` in, an event or a reason out."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol, cast
from uuid import UUID

import msgspec

from gateway.contract.usage import SCHEMA, SHADOW_TYPE, UsageEvent

LARGEST_BATCH = 10_000
FUTURE = timedelta(minutes=5)  # clocks of gateways differ a little
MAX_LATE = timedelta(days=62)
LARGEST = 2**53  # far above any request, far below the end of bigint
LARGEST_MS = 1e9
MOST_GPUS = 1_000  # of one engine
# Of what hours add up: millions of the largest are still a bigint, or one event would stop them.
MOST = {
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), 2**40),
    "gpu_ms": round(LARGEST_MS),
}
LATEST = 4_102_444_800_000_000  # the year 2100: what follows is no time of a request
LARGEST_STATUS = 999
MOST_VERSIONS = 64
MOST_MODIFIERS = 16
LONGEST_MODIFIER = 128
LENGTHS = {
    "model": 128,
    "adapter": 128,
    "release": 32,
    "cluster": 63,
    "pod": 253,
    "reason": 64,
    "rerouted_from": 128,
    "finish_reason": 32,
    "worker": 128,
    "engine_id": 128,
    "gpu_product": 120,
    "hosted": 120,
}
COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "gpu_ms",
    "policy_version",
    "routing_version",
    "price_version",
)
IDS = ("tenant_id", "application_id", "credential_id")
OPTIONAL_IDS = ("service_id", "deployment_id", "release_id")
TIMES_MS = ("queue_ms", "ttft_ms", "itl_ms", "itl_p95_ms")
_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
_Millis = Annotated[float, msgspec.Meta(ge=0, le=LARGEST_MS)]
_Modifier = Annotated[str, msgspec.Meta(max_length=LONGEST_MODIFIER)]
BOUNDS: dict[str, Any] = {
    **{n: Annotated[str, msgspec.Meta(max_length=longest)] for n, longest in LENGTHS.items()},
    **dict.fromkeys(COUNTS + IDS, _Count),
    **{n: Annotated[int, msgspec.Meta(ge=0, le=most)] for n, most in MOST.items()},
    **dict.fromkeys(OPTIONAL_IDS, _Count | None),
    **dict.fromkeys(TIMES_MS, _Millis | None),
    **dict.fromkeys(("started_at", "finished_at"), _Time),
    "http_status": Annotated[int, msgspec.Meta(ge=0, le=LARGEST_STATUS)],
    "gpus": Annotated[int, msgspec.Meta(ge=0, le=MOST_GPUS)],
    "modifiers": Annotated[tuple[_Modifier, ...], msgspec.Meta(max_length=MOST_MODIFIERS)],
    "limit_versions": Annotated[tuple[_Count, ...], msgspec.Meta(max_length=MOST_VERSIONS)],
}
# Names that stand in lines of prices and in keys of files.
NAME = re.compile(r"[^,/\"\x00-\x1f\x7f]*")
KEY = re.compile(rb'"\s*:')
ID = re.compile("-".join(f"[0-9a-f]{{{n}}}" for n in (8, 4, 4, 4, 12)))  # as `str` has a UUID
# How an event ends that says nothing of what older gateways did not know, and how theirs did: what
# was delivered before it is read with these fields is still the same event after that.
SAYS_NO_MORE = b',"gpus":1,"gpu_product":"","hosted":""}'


class Reason(StrEnum):
    """Why an event waits for a person."""

    BAD_SCHEMA = "bad_schema"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_APPLICATION = "unknown_application"
    FUTURE = "future"
    TOO_LATE = "too_late"
    CONFLICT = "conflict"
    NOT_ALLOWED = "not_allowed"  # of a tenant that this source does not report for


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent 1.0 with our data. Other attributes may be there and mean nothing."""

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: Literal["quartermaster.usage.v1", "quartermaster.shadow.v1"]
    time: datetime
    data: UsageEvent


AROUND = len(msgspec.structs.fields(CloudEvent))  # keys, each of which is required


class Bounded(Protocol):
    """What `_bounded` makes: a UUID costs more than its text."""

    id: str
    type: str
    data: UsageEvent


class Accepted(msgspec.Struct, frozen=True, gc=False):
    event_id: str  # a UUID, as `str` has it
    event: UsageEvent
    sha: bytes  # of what it says, whatever its spelling
    raw: bytes
    ended: datetime
    is_copy: bool = False  # for a shadow of a rollout: no client got the answer, nobody pays


@dataclass(frozen=True, slots=True)
class Refused:
    event_id: str
    reason: Reason
    detail: str
    raw: bytes
    tenant_id: int | None = None  # only where it is a tenant that exists
    position: int = 0  # in its batch; the first is 0

    @property
    def sha(self) -> bytes:
        return hashlib.sha256(self.raw).digest()


def _bounded() -> type[Bounded]:
    """The same with bounds in its types, which are read at no cost. What keeps them says nothing
    of why; what breaks them is read again without, and told in words."""
    fields = [
        (field.name, BOUNDS.get(field.name, field.type), msgspec.field(default=field.default))
        if field.default is not msgspec.NODEFAULT
        else (field.name, BOUNDS.get(field.name, field.type))
        for field in msgspec.structs.fields(UsageEvent)
    ]
    as_it_is: Any = {"frozen": True, "kw_only": True, "gc": False}
    data = msgspec.defstruct("Bounded", fields, bases=(UsageEvent,), **as_it_is)
    around = [("id", str), ("data", data)]
    bounded = msgspec.defstruct("BoundedEvent", around, bases=(CloudEvent,), **as_it_is)
    return cast(type[Bounded], bounded)


_decode_event = msgspec.json.Decoder(CloudEvent).decode
_decode_bounded = msgspec.json.Decoder(_bounded()).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def moment(micros: int) -> datetime:
    """Microseconds since the epoch as UTC; exact up to `LATEST`."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def read_event(raw: bytes, now: datetime) -> Accepted | Refused:
    """Judge one event by itself; whether its tenant exists is seen later."""
    good = _good(raw)
    if isinstance(good, Refused):
        return good
    event_id, kind, data, said = good
    ended = moment(data.finished_at)
    if ended > now + FUTURE:
        detail = f"It ended {ended - now} from now; at most {FUTURE} is a difference of clocks"
        return Refused(event_id, Reason.FUTURE, detail, raw)
    if ended < now - MAX_LATE:
        detail = f"It ended {(now - ended).days} days ago; {MAX_LATE.days} are taken"
        return Refused(event_id, Reason.TOO_LATE, detail, raw)
    is_copy = kind == SHADOW_TYPE
    if said.endswith(SAYS_NO_MORE):
        said = said.removesuffix(SAYS_NO_MORE) + b"}"
    if is_copy:
        said += kind.encode()
    return Accepted(event_id, data, hashlib.sha256(said).digest(), raw, ended, is_copy)


def _good(raw: bytes) -> tuple[str, str, UsageEvent, bytes] | Refused:
    """Its id, its type, its data, and these in one spelling. Most events are as they should be:
    seen through at once."""
    try:
        bounded = _decode_bounded(raw)
    except (msgspec.MsgspecError, RecursionError):
        pass
    else:
        said = _encode(bounded.data)
        if _is_plain(bounded, raw, said):
            return bounded.id, bounded.type, bounded.data, said
    try:
        found = _decode_event(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Refused(name_of(raw), Reason.BAD_SCHEMA, str(error), raw)
    if fault := fault_of(found, raw):
        return Refused(str(found.id), Reason.BAD_SCHEMA, fault, raw)
    return str(found.id), found.type, found.data, _encode(found.data)


def _is_plain(found: Bounded, raw: bytes, said: bytes) -> bool:
    """What bounds do not say. No: `fault_of` has the last word."""
    data = found.data
    return (
        data.schema == SCHEMA
        and data.request_id == found.id
        and ID.fullmatch(found.id) is not None
        and data.cached_tokens <= data.prompt_tokens
        and data.started_at <= data.finished_at
        and is_name(data.gpu_product)
        and is_name(data.hosted)
        and (b"\\" not in raw or b"\\u0000" not in raw)  # to look for one byte is far cheaper
        and _has_known_keys(raw, said)
    )


def fault_of(found: CloudEvent, raw: bytes) -> str:
    """The first fault in words, empty when there is none."""
    for check in CHECKS:
        if fault := check(found, raw):
            return fault
    return ""


def _schema(found: CloudEvent, raw: bytes) -> str:
    if found.data.schema != SCHEMA:
        return f"data.schema is {found.data.schema}; this door reads {SCHEMA}"
    return ""


def _identity(found: CloudEvent, raw: bytes) -> str:
    if found.data.request_id.lower() != str(found.id):
        return "id and data.request_id differ"
    return ""


def _numbers(found: CloudEvent, raw: bytes) -> str:
    data = found.data
    for name in COUNTS + IDS:
        if not 0 <= getattr(data, name) <= MOST.get(name, LARGEST):
            return f"data.{name} is out of range"
    for name in OPTIONAL_IDS:
        if not 0 <= (getattr(data, name) or 0) <= LARGEST:
            return f"data.{name} is out of range"
    if not all(0 <= v <= LARGEST for v in data.limit_versions) or (
        len(data.limit_versions) > MOST_VERSIONS
    ):
        return "data.limit_versions is out of range"
    if not 0 <= data.http_status <= LARGEST_STATUS:
        return "data.http_status is out of range"
    if not 0 <= data.gpus <= MOST_GPUS:
        return f"data.gpus is more than {MOST_GPUS}"
    return ""


def _cached(found: CloudEvent, raw: bytes) -> str:
    data = found.data
    if data.cached_tokens > data.prompt_tokens:
        return f"data.cached_tokens {data.cached_tokens} is more than data.prompt_tokens"
    return ""


def _times(found: CloudEvent, raw: bytes) -> str:
    data = found.data
    if not 0 <= data.started_at <= data.finished_at <= LATEST:
        return "data.started_at and data.finished_at are not in order"
    for name in TIMES_MS:
        value = getattr(data, name)
        if value is not None and not 0 <= value <= LARGEST_MS:
            return f"data.{name} is out of range"
    return ""


def _texts(found: CloudEvent, raw: bytes) -> str:
    if b"\\u0000" in raw:
        return "a text holds the character NUL"
    for name, longest in LENGTHS.items():
        if len(getattr(found.data, name)) > longest:
            return f"data.{name} is longer than {longest}"
    for name in ("gpu_product", "hosted"):
        if not is_name(getattr(found.data, name)):
            return f"data.{name} holds a comma, a slash or a quotation mark"
    modifiers = found.data.modifiers
    if len(modifiers) > MOST_MODIFIERS or any(len(m) > LONGEST_MODIFIER for m in modifiers):
        return "data.modifiers are too many or too long"
    return ""


@lru_cache(1_024)
def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def _duplicate_keys(found: CloudEvent, raw: bytes) -> str:
    """A key that stands twice would mean two things to two readers.

    Counting is cheap and exact for what gateways write; only what has other objects inside, or
    a suspicious text, is read the slow way.
    """
    if _has_known_keys(raw, _encode(found.data)):
        return ""
    try:
        json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        return str(error)
    return ""


def _has_known_keys(raw: bytes, said: bytes) -> bool:
    """As many as an object and the one in it have: each once, and no other object inside.

    Gateways write data last and as it is `said` here, to the byte: then no key of it stands twice,
    and only those around it are left to count. Quotes of a text are escaped: none ends like data.
    """
    if raw.endswith(said, 0, -1):
        rest, known = raw[: -1 - len(said)], AROUND
    else:
        rest = raw
        outer: dict[str, Any] = _decode_any(raw)
        known = len(outer) + len(outer["data"])
    return len(KEY.findall(rest)) == known


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For a reader of JSON: a key that stands twice would mean two things to two readers."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


CHECKS: tuple[Callable[[CloudEvent, bytes], str], ...] = (
    _schema,
    _identity,
    _numbers,
    _cached,
    _times,
    _texts,
    _duplicate_keys,
)


def peek_end(raw: bytes) -> int | None:
    """When the event says that it ended, in microseconds; None when it cannot be read."""
    try:
        end = _decode_event(raw).data.finished_at
    except (msgspec.MsgspecError, RecursionError):
        return None
    return end if 0 <= end <= LATEST else None


def name_of(raw: bytes) -> str:
    """The id as given, for the answer and the quarantine; empty when there is none."""
    try:
        found = _decode_any(raw)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    given = found.get("id") if isinstance(found, dict) else None
    return given.replace("\0", "")[:128] if isinstance(given, str) else ""
