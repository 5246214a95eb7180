"""The ingest door's one write: a batch of usage events, each stored once.

1. Judge every event by itself; bad ones go to quarantine, the batch goes on.
2. In one transaction: claim ids in `usage_seen`, store the events whose id was new by way of a
   staging table, count them for the traffic statistics, mark their hours, keep the bad ones.
   Of an id that stands in the batch more than once the first one claims it; each of the others is
   a duplicate or a conflict by what is stored under it then, whatever their order.
   Copies for shadows of rollouts are counted for the gates, and are no usage. Reports of kept
   prefixes go the same way to a table of their own (`prefixes`).
3. Commit, then answer. A batch that is sent again finds all its ids and changes nothing.

Locks are taken in the order of ids and of keys, so that writers beside each other never deadlock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter

from django.db import IntegrityError, connection
from msgspec.structs import replace
from psycopg.errors import CheckViolation

from billing.actions.arrivals import note_arrivals, note_limited
from billing.actions.named_events import Named, by_ids
from billing.actions.owners import known_owners
from billing.actions.prefixes import part_reports, store_reports
from billing.models import UsageQuarantine
from billing.rules.event_bodies import NotABatch, read_batch
from billing.rules.events import (
    LARGEST_BATCH,
    Accepted,
    Reason,
    Refused,
    read_event,
)
from billing.rules.origins import origin_of
from fleet.actions import traffic
from fleet.rules.traffic import TrafficSample
from gateway.contract.usage import waking_ms
from tenants.actions.keys import mark_used
from tenants.base.arrays import array
from tenants.base.scope import fleet_scope
from tenants.errors import ConsoleError, Forbidden
from tenants.queries.directory import tenants_of_source
from tenants.rules.access import Viewer

LONGEST_KEPT = 16_384
TRIES = 5  # of a batch, each of which waited until a day had moved
HOUR = 3_600_000_000  # microseconds
NULL = "\\N"  # as COPY reads it
ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
SAME = (
    "tenant_id", "application_id", "credential_id", "model", "service_id", "deployment_id",
    "release_id", "release", "cluster", "pod", "traffic_class", "outcome", "reason",
    "rerouted_from", "stream", "http_status", "finish_reason", "usage_quality", "prompt_tokens",
    "cached_tokens", "completion_tokens", "queue_ms", "ttft_ms", "itl_ms", "itl_p95_ms",
    "gpu_ms", "worker", "policy_version", "routing_version", "price_version", "engine_id",
    "demo", "gpus", "gpu_product", "hosted",
)  # fmt: skip
same_of = attrgetter(*SAME)
ALSO = ("modifiers", "limit_versions", "request_id", "source_id")
COLUMNS = ", ".join((*SAME, *ALSO))
# Times are copied as microseconds since the epoch: nobody has to write and read them as text.
TIMES = ("started_at", "event_time")
STAGE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS usage_stage ON COMMIT DELETE ROWS AS
SELECT {COLUMNS}, 0::bigint AS started_at, 0::bigint AS event_time FROM usage_event WITH NO DATA
"""
COPY = f"COPY usage_stage ({COLUMNS}, {', '.join(TIMES)}) FROM STDIN"
STORE = f"""
INSERT INTO usage_event ({COLUMNS}, {", ".join(TIMES)})
SELECT {COLUMNS}, {", ".join(f"'epoch'::timestamptz + {t} * interval '1 us'" for t in TIMES)}
FROM usage_stage
"""
GIVEN = "unnest(%s::uuid[], %s::text[]) AS given (event_id, sha)"
REPEATED = "unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS given (event_id, sha, place)"
# Mostly all are new or none is: then none is named.
CLAIM = f"""
WITH fresh AS (
    INSERT INTO usage_seen (source_id, event_id, payload_sha, is_copy)
    SELECT %s, event_id, decode(sha, 'hex'), %s FROM {GIVEN} ORDER BY event_id
    ON CONFLICT DO NOTHING RETURNING event_id
)
SELECT count(*), CASE WHEN count(*) < %s THEN array_agg(event_id::text) END FROM fresh
"""
# One by one: as a join the planner would read the whole table for a batch.
OTHERWISE_SEEN = f"""
SELECT place FROM {REPEATED} WHERE decode(sha, 'hex') <> (
    SELECT payload_sha FROM usage_seen seen
    WHERE seen.source_id = %s AND seen.event_id = given.event_id
)
"""
MARK = """
INSERT INTO usage_hour_mark (hour, tenant_id)
SELECT to_timestamp(hour * 3600), tenant_id
FROM unnest(%s::bigint[], %s::bigint[]) AS marked (hour, tenant_id)
"""


class BatchRefused(ConsoleError):
    """The body as a whole: nothing of it was stored."""

    code = "bad_batch"
    status = 400


class BatchTooLarge(ConsoleError):
    code = "batch_too_large"
    status = 413


@dataclass(frozen=True, slots=True)
class Receipt:
    accepted: int
    duplicates: int
    quarantined: tuple[Refused, ...]  # in the order of the batch


def ingest(viewer: Viewer, body: bytes, *, now: datetime) -> Receipt:
    """Store a batch. Opens its own scope: a gateway speaks for all tenants."""
    if viewer.source_id is None:
        raise Forbidden("Only a usage source's credential (qms_...) opens the ingest door")
    try:
        raws = read_batch(body)
    except NotABatch as error:
        raise BatchRefused(str(error)) from error
    if len(raws) > LARGEST_BATCH:
        raise BatchTooLarge(
            f"The batch has {len(raws)} events; at most {LARGEST_BATCH} are taken at once",
            limit=LARGEST_BATCH,
        )
    named = by_ids(raws, viewer.source_id)
    for left in reversed(range(TRIES)):
        try:
            return _take(viewer.source_id, named, now)
        except IntegrityError as error:
            if not left or not _day_moved(error):
                raise
    raise AssertionError("the last try returns or raises")


def _take(source_id: int, named: Named, now: datetime) -> Receipt:
    raws, kept, faulty = part_reports(named.raws, now)
    accepted, refused = judge(raws, now)
    with fleet_scope():
        receipt = store(source_id, accepted, now=now)
        reports, not_kept = store_reports(source_id, kept)
        new = receipt.accepted + reports
        found = [*named.refused, *refused, *faulty, *receipt.quarantined, *not_kept]
        bad = named.as_sent(found)
        _keep_bad(source_id, bad)
        return Receipt(new, len(named.batch) - new - len(bad), tuple(bad))


def _day_moved(error: IntegrityError) -> bool:
    """It waited for the default part while another part took its day: now it finds that one."""
    cause = error.__cause__
    return isinstance(cause, CheckViolation) and cause.diag.constraint_name is None


def judge(raws: Sequence[bytes], now: datetime) -> tuple[list[Accepted], list[Refused]]:
    """Part the good from the bad, each by itself and in the order of the batch."""
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    for raw in raws:
        found = read_event(raw, now)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            accepted.append(found)
    return accepted, refused


def store(source_id: int, judged: list[Accepted], *, now: datetime) -> Receipt:
    """Store good events in the open scope; say which of them cannot be after all."""
    allowed = tenants_of_source(source_id)
    known, strangers = known_owners(judged, allowed)
    firsts, later = _by_first(known)
    accepted = [a for a in firsts if not a.is_copy]
    copied = [a for a in firsts if a.is_copy]
    copies = _count_copies(source_id, copied, now, of_fleet=not allowed)
    stored = _claim(source_id, accepted)
    new_ids = {a.event_id for a in stored} if len(stored) < len(accepted) else None
    old = [] if new_ids is None else [a for a in accepted if a.event_id not in new_ids]
    bad = [*strangers, *_conflicts(source_id, [*old, *later])]
    _insert(source_id, stored)
    traffic.record(_samples(stored, of_fleet=not allowed), now=now)
    _mark(stored)
    note_arrivals(source_id, stored, now=now)
    if allowed:
        note_limited(stored)
    mark_used(_last_uses(stored))
    new = len(stored) + copies
    return Receipt(new, len(judged) - new - len(bad), tuple(bad))


def _count_copies(source_id: int, copies: list[Accepted], now: datetime, *, of_fleet: bool) -> int:
    """Count what a shadow answered, each once; answers how many were new."""
    fresh = _claim(source_id, copies, are_copies=True)
    if fresh:
        traffic.record_copies(_samples(fresh, of_fleet=of_fleet), now=now)
    return len(fresh)


def _claim(source_id: int, events: list[Accepted], *, are_copies: bool = False) -> list[Accepted]:
    """Those whose id nobody had delivered."""
    if not events:
        return []
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [source_id, are_copies, *_given(events), len(events)])
        count, names = cursor.fetchone()
    if count == len(events):
        return events
    fresh = {*(names or ())}
    return [e for e in events if e.event_id in fresh]


def _by_first(known: list[Accepted]) -> tuple[list[Accepted], list[Accepted]]:
    """The first of each id, and the others."""
    first: dict[str, Accepted] = {}
    later = [a for a in known if first.setdefault(a.event_id, a) is not a]
    return (list(first.values()) if later else known), later


def _conflicts(source_id: int, repeated: list[Accepted]) -> list[Refused]:
    """Those whose id is stored with another content."""
    if not repeated:
        return []
    with connection.cursor() as cursor:
        cursor.execute(OTHERWISE_SEEN, [*_given(repeated), source_id])
        return [_conflict(repeated[place - 1]) for (place,) in cursor.fetchall()]


def _given(events: list[Accepted]) -> tuple[str, str]:
    """Ids and digests."""
    return array([e.event_id for e in events]), array([e.sha.hex() for e in events])


def _last_uses(stored: list[Accepted]) -> dict[tuple[int, int], datetime]:
    """By key and tenant."""
    last: dict[tuple[int, int], datetime] = {}
    for a in stored:
        key = (a.event.credential_id, a.event.tenant_id)
        last[key] = max(last.get(key, a.ended), a.ended)
    return last


def _insert(source_id: int, stored: list[Accepted]) -> None:
    if not stored:
        return
    # In the order of time, as they are looked for.
    rows = sorted(stored, key=lambda a: a.event.finished_at)
    with connection.cursor() as cursor:
        cursor.execute(STAGE)
        cursor.execute("DELETE FROM usage_stage")
        with cursor.copy(COPY) as copy:
            copy.write("".join([_line(source_id, a) for a in rows]))
        cursor.execute(STORE)


def _line(source_id: int, accepted: Accepted) -> str:
    """A row as COPY reads it: written by hand, at a fifth of what the driver takes for it."""
    event = accepted.event
    values = (
        *same_of(event),
        _of_few(event.modifiers),
        _of_few(event.limit_versions),
        event.request_id,
        source_id,
        event.started_at,
        event.finished_at,
    )
    texts = [NULL if v is None else str(v) for v in values]
    # JSON without a backslash holds no text that has one, nor a tab or the end of a line.
    if b"\\" in accepted.raw:
        texts = [NULL if v is None else str(v).translate(ESCAPED) for v in values]
    return "\t".join(texts) + "\n"


@lru_cache(1_024)
def _of_few(values: tuple[str | int, ...]) -> str:
    """An array that many events of a batch have."""
    return array(values)


def _conflict(accepted: Accepted) -> Refused:
    detail = "This id was stored before with another content; what was stored stays"
    event = accepted.event
    return Refused(accepted.event_id, Reason.CONFLICT, detail, accepted.raw, event.tenant_id)


def _samples(events: Iterable[Accepted], *, of_fleet: bool) -> list[TrafficSample]:
    """Gates judge a release by what the fleet's own gateways say of it, and by nobody else."""
    found = [_sample(a) for a in events]
    return found if of_fleet else [replace(s, release_id=0) for s in found]


def _sample(accepted: Accepted) -> TrafficSample:
    event = accepted.event
    return TrafficSample(
        at=accepted.ended,
        tenant_id=event.tenant_id,
        service_id=event.service_id or 0,
        release_id=event.release_id or 0,
        traffic_class=event.traffic_class.value,
        outcome=event.outcome.value,
        reason=event.reason[:24],
        ttft_ms=event.ttft_ms,
        itl_ms=event.itl_ms,
        queue_ms=event.queue_ms,
        waking_ms=waking_ms(event.modifiers) if event.modifiers else None,
        prompt_tokens=event.prompt_tokens,
        cached_tokens=event.cached_tokens,
        completion_tokens=event.completion_tokens,
        adapter=event.adapter,
        took_ms=(event.finished_at - event.started_at) / 1000,
        application_id=event.application_id,
        gpu_ms=event.gpu_ms * event.gpus,
        finish=event.finish_reason,
    )


def _mark(stored: Iterable[Accepted]) -> None:
    hours = sorted({(a.event.finished_at // HOUR, a.event.tenant_id) for a in stored})
    if hours:
        with connection.cursor() as cursor:
            cursor.execute(MARK, [array([h for h, _ in hours]), array([t for _, t in hours])])


def _keep_bad(source_id: int, bad: Sequence[Refused]) -> None:
    """Keep each bad event once, however often its batch is sent again."""
    rows = [
        UsageQuarantine(
            source_id=source_id,
            event_id=b.event_id,
            reason=b.reason.value,
            detail=b.detail[:2000].replace("\0", ""),
            tenant_id=b.tenant_id,
            payload=b.raw.decode(errors="replace").replace("\0", "")[:LONGEST_KEPT],
            payload_sha=b.sha,
            ended_at=origin.ended,
            worker=origin.worker,
        )
        for b in sorted(bad, key=lambda b: b.sha)
        for origin in (origin_of(b.raw),)
    ]
    UsageQuarantine.objects.bulk_create(rows, ignore_conflicts=True)
