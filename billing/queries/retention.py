"""Parts of requests: how large each is, when it may go and why not, and what was dropped."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, Q, QuerySet

from billing.models import ArchivedPart, DroppedDay, DroppedPart, Reconciliation
from billing.queries.archive import newest_tries, why_without_file
from billing.queries.event_parts import EventPart, event_parts
from billing.rules.retention import goes_at
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

MOMENT = timedelta(microseconds=1)
# Of the delivery of an event its id is known so long, and a check compares both.
ID_IS_KNOWN = timedelta(days=70)
CHECKED = timedelta(days=2)  # the books are checked once a day
SIZES = """
SELECT p.name, pg_total_relation_size(to_regclass(p.name)), (
    SELECT coalesce(sum(events), 0)::bigint FROM usage_day
    WHERE day >= (p.starts AT TIME ZONE 'UTC')::date AND day < (p.ends AT TIME ZONE 'UTC')::date
) FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS p (name, starts, ends)
"""
# Of each part what stands in the way: a word for it, how often, and the first of it.
BLOCKED = """
SELECT p.name, b.kind, b.n, b.first, b.tenant_id
FROM unnest(%(names)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS p (name, starts, ends)
CROSS JOIN LATERAL (
    SELECT 'open' AS kind, count(*) AS n, min(name) AS first, min(tenant_id) AS tenant_id
    FROM billing_period WHERE state <> 'closed' AND starts_at < p.ends AND ends_at > p.starts
    UNION ALL
    SELECT 'reopening', count(*), min(name), min(tenant_id) FROM billing_period
    WHERE change_id IS NOT NULL AND state = 'closed'
        AND starts_at < p.ends AND ends_at > p.starts
    UNION ALL
    SELECT 'no period', count(*), min(day)::text, min(tenant_id) FROM usage_day d
    WHERE day >= (p.starts AT TIME ZONE 'UTC')::date AND day < (p.ends AT TIME ZONE 'UTC')::date
        AND events > 0 AND NOT (
            EXISTS (SELECT FROM billing_period b WHERE b.tenant_id = d.tenant_id
                AND b.starts_at <= d.day::timestamp AT TIME ZONE 'UTC'
                AND b.ends_at > d.day::timestamp AT TIME ZONE 'UTC')
            AND EXISTS (SELECT FROM billing_period b WHERE b.tenant_id = d.tenant_id
                AND b.starts_at < (d.day + 1)::timestamp AT TIME ZONE 'UTC'
                AND b.ends_at >= (d.day + 1)::timestamp AT TIME ZONE 'UTC')
        )
    UNION ALL
    SELECT 'roll up', count(*), min(hour)::text, min(tenant_id) FROM usage_hour_mark
    WHERE hour >= p.starts AND hour < p.ends
    UNION ALL
    SELECT 'rate', count(*), min(hour)::text, NULL FROM rating_mark
    WHERE hour >= p.starts AND hour < p.ends
    UNION ALL
    SELECT 'quarantine', count(*), min(reason), min(tenant_id) FROM usage_quarantine
    WHERE ended_at >= p.starts AND ended_at < p.ends
    UNION ALL
    SELECT 'export', count(*), min(id)::text, min(tenant_id) FROM export_job
    WHERE state = 'waiting' AND starts_at < p.ends AND ends_at > p.starts
    UNION ALL
    SELECT 'young', 1, NULL, NULL WHERE p.ends + interval '3 months' > now()
    UNION ALL
    SELECT 'late', count(*), max(stored_at)::text, NULL FROM usage_event
    WHERE event_time >= p.starts AND event_time < p.ends AND stored_at > %(late)s
) AS b WHERE b.n > 0 ORDER BY p.ends
"""
SAID = {
    "open": "{n} billing periods that are not closed: {first}{of} and others",
    "reopening": "{n} closed periods that wait to be opened again: {first}{of}",
    "no period": "usage of {n} days of tenants that no billing period covers: {first}{of}",
    "roll up": "{n} hours that wait to be rolled up",
    "rate": "{n} hours that wait to be rated",
    "quarantine": "{n} events of its time in quarantine: {first}{of}",
    "export": "{n} exports of its time that are not done: export {first}",
    "young": "it ended less than 3 months ago, says the clock of the database",
    "late": "{n} requests that came less than 70 days ago, whose ids are still compared",
}


@dataclass(frozen=True, slots=True)
class PartState:
    """A part that is there. `requests` are those of its days, as hours have them."""

    name: str
    starts_at: datetime | None  # the first part has no start
    ends_at: datetime
    requests: int
    bytes: int  # with indexes
    goes_at: datetime | None  # None: kept for ever
    why: tuple[str, ...]  # it is that old, and this keeps it
    file: str  # with its requests, below QM_USAGE_ARCHIVE; empty: none that counts
    file_sha256: str

    def is_due(self, now: datetime) -> bool:
        return self.goes_at is not None and self.goes_at <= now

    def may_go(self, now: datetime) -> bool:
        return self.is_due(now) and not self.why


@dataclass(frozen=True, slots=True)
class DefaultDay:
    """Requests of a day that has no part."""

    day: str
    requests: int


@dataclass(frozen=True, slots=True)
class Gone:
    """What is said instead of requests. `of`: the part, or a day of one tenant."""

    of: str
    requests: int
    sha256: str
    rule: str
    dropped_at: datetime
    file: str = ""  # said to the operator alone: it has the requests of all tenants

    def __str__(self) -> str:
        file = f" They are in {self.file} of the archive." if self.file else ""
        return (
            f"{self.requests:,} requests of {self.of} were dropped on"
            f" {self.dropped_at:%Y-%m-%d %H:%M} UTC: {self.rule}. Their sha256 is {self.sha256}."
            f"{file}"
        )


def due_parts(now: datetime) -> list[EventPart]:
    """Those that are old enough, the oldest first."""
    months = settings.QM_USAGE_MONTHS
    return [p for p in event_parts() if (at := goes_at(p.ends_at, months)) and at <= now]


def list_parts(viewer: Viewer, now: datetime) -> list[PartState]:
    """The oldest first."""
    viewer.require(Permission.VIEW_MONEY)
    parts = event_parts()
    due = {p.name: goes_at(p.ends_at, settings.QM_USAGE_MONTHS) for p in parts}
    tries = newest_tries(due)
    why = _reasons([p for p in parts if (at := due[p.name]) and at <= now], tries, now)
    with connection.cursor() as cursor:
        cursor.execute(SIZES, _columns(parts))
        sizes = {name: (size or 0, requests) for name, size, requests in cursor.fetchall()}
    return [
        PartState(
            p.name,
            p.starts_at,
            p.ends_at,
            requests=sizes[p.name][1],
            bytes=sizes[p.name][0],
            goes_at=due[p.name],
            why=why.get(p.name, ()),
            file=tries[p.name].file if p.name in tries else "",
            file_sha256=tries[p.name].sha256 if p.name in tries else "",
        )
        for p in parts
    ]


def _reasons(
    due: Sequence[EventPart], tries: Mapping[str, ArchivedPart], now: datetime
) -> dict[str, tuple[str, ...]]:
    """What keeps each of them; and that its file is missing, once nothing else does."""
    found = what_keeps(due, now)
    if not settings.QM_USAGE_ARCHIVE:
        return found
    files = {name: why_without_file(tries.get(name)) for name in found}
    return {name: why or ((files[name],) if files[name] else ()) for name, why in found.items()}


def what_keeps(parts: Sequence[EventPart], now: datetime) -> dict[str, tuple[str, ...]]:
    """By the name of a part, in the fleet's scope: why it may not go, though it is old enough."""
    if not parts:
        return {}
    names, starts, ends = _columns(parts)
    given: dict[str, Any] = {"names": names, "starts": starts, "ends": ends}
    given["late"] = now - ID_IS_KNOWN
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED, given)
        rows = cursor.fetchall()
    slugs = {pk: t.slug for pk, t in tenant_refs({r[4] for r in rows if r[4]}).items()}
    found = defaultdict(list, {p.name: _books(now) for p in parts})
    for name, kind, n, first, tenant_id in rows:
        of = f" of {slugs.get(tenant_id, tenant_id)}" if tenant_id else ""
        text = SAID[kind].format(n=f"{n:,}", first=first, of=of)
        found[name].append(text if n > 1 else text.removesuffix(" and others"))
    return {name: tuple(texts) for name, texts in found.items()}


def _books(now: datetime) -> list[str]:
    """What the newest check of the books says against any part's going."""
    done = Reconciliation.objects.filter(state=Reconciliation.State.DONE).order_by("-id")
    last = done.values("pk", "wrong", "finished_at").first()
    at = last["finished_at"] if last else None
    if last is None or at is None or at < now - CHECKED:
        return ["the books were not checked in the last two days"]
    if last["wrong"]:
        return [f"{last['wrong']} sums of the books do not agree, says check {last['pk']}"]
    return []


def default_days() -> list[DefaultDay]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT day::text, requests FROM qm_default_days()")
        return [DefaultDay(*row) for row in cursor.fetchall()]


def list_dropped(viewer: Viewer) -> QuerySet[DroppedPart]:
    """The newest first."""
    viewer.require(Permission.VIEW_MONEY)
    return DroppedPart.objects.order_by("-ends_at")


def dropped_between(start: datetime, end: datetime) -> list[DroppedPart]:
    """Parts that are gone and had requests of [start, end), the oldest first."""
    begins_before = Q(starts_at__lt=end) | Q(starts_at=None)
    found = DroppedPart.objects.filter(begins_before, ends_at__gt=start)
    return list(found.order_by(F("starts_at").asc(nulls_first=True)))


def what_was_dropped(
    viewer: Viewer, start: datetime, end: datetime, tenant_id: int | None = None
) -> list[Gone]:
    """Requests of [start, end), the oldest first: by part for the fleet, else by tenant and day.

    Parts that were empty are left out: nobody misses anything of them.
    """
    parts = [p for p in dropped_between(start, end) if p.requests]
    if not parts:
        return []
    if viewer.is_fleet and tenant_id is None:
        return [Gone(p.part, p.requests, p.sha256, p.rule, p.dropped_at, p.file) for p in parts]
    first, last = start.astimezone(UTC).date(), (end - MOMENT).astimezone(UTC).date()
    days = DroppedDay.objects.filter(day__range=(first, last))
    if tenant_id is not None:
        days = days.filter(tenant_id=tenant_id)
    of = {p.part: p for p in parts}
    found = days.filter(part__in=list(of)).order_by("day", "tenant_id")
    return [
        Gone(
            str(d.day),
            d.requests,
            d.sha256,
            of[d.part].rule,
            of[d.part].dropped_at,
            of[d.part].file if viewer.is_fleet else "",
        )
        for d in found
    ]


def _columns(
    parts: Sequence[EventPart],
) -> tuple[list[str], list[str], list[datetime]]:
    starts = [p.starts_at.isoformat() if p.starts_at else "-infinity" for p in parts]
    return [p.name for p in parts], starts, [p.ends_at for p in parts]
