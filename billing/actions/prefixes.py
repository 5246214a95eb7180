"""Reports of kept prefixes: each stored once, summed up by hour.

A report marks its hour as a request does, so roll-up and rating find it in the same way. Its id is
the key for good: what is sent again changes nothing, whenever that is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from billing.actions.owners import known_owners
from billing.rules.events import Reason, Refused
from billing.rules.prefixes import Kept, is_report, read_report
from tenants.base.arrays import array
from tenants.queries.directory import tenants_of_source

GIVEN = """unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::numeric[], %s::bigint[],
    %s::bigint[], %s::text[]) WITH ORDINALITY AS given (report_id, tenant_id, application_id, model,
    gib_hours, started, ended, sha, place)"""
AT = "'epoch'::timestamptz + {} * interval '1 us'"
# In the order of their ids, as every writer has them; of an id that stands twice the first one.
STORE = f"""
WITH fresh AS (
    INSERT INTO prefix_report (source_id, report_id, tenant_id, application_id, model, gib_hours,
        started_at, ended_at, payload_sha)
    SELECT %s, report_id, tenant_id, application_id, model, gib_hours, {AT.format("started")},
        {AT.format("ended")}, decode(sha, 'hex')
    FROM {GIVEN} ORDER BY report_id, place
    ON CONFLICT (source_id, report_id) DO NOTHING RETURNING tenant_id, started_at
), marked AS (
    INSERT INTO usage_hour_mark (hour, tenant_id)
    SELECT DISTINCT date_bin('1 hour', started_at, 'epoch'), tenant_id FROM fresh ORDER BY 1, 2
)
SELECT count(*) FROM fresh
"""
OTHERWISE = f"""
SELECT place FROM {GIVEN} WHERE decode(sha, 'hex') <> (
    SELECT payload_sha FROM prefix_report r
    WHERE r.source_id = %s AND r.report_id = given.report_id)
"""
FORGET = """
DELETE FROM prefix_hour p USING roll_pair m WHERE p.hour = m.hour AND p.tenant_id = m.tenant_id
"""
# Hour by hour of each tenant, by an index; and not at all where nobody reports.
SUM = """
INSERT INTO prefix_hour (tenant_id, hour, application_id, model, gib_hours, reports)
SELECT m.tenant_id, m.hour, s.* FROM roll_pair m CROSS JOIN LATERAL (
    SELECT application_id, model, sum(gib_hours), count(*) FROM prefix_report r
    WHERE r.tenant_id = m.tenant_id AND r.started_at >= m.hour
        AND r.started_at < m.hour + interval '1 hour'
    GROUP BY application_id, model
) AS s WHERE EXISTS (SELECT FROM prefix_report)
ORDER BY m.tenant_id, m.hour
"""


def part_reports(
    raws: Sequence[bytes], now: datetime
) -> tuple[list[bytes], list[Kept], list[Refused]]:
    """What of a batch is of requests; the reports; and those that are not as they should be."""
    requests, kept, refused = [], [], []
    for raw in raws:
        if not is_report(raw):
            requests.append(raw)
            continue
        found = read_report(raw, now)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            kept.append(found)
    return requests, kept, refused


def store_reports(source_id: int, kept: Sequence[Kept]) -> tuple[int, list[Refused]]:
    """How many were new, in the open scope; and which cannot be taken after all."""
    if not kept:
        return 0, []
    known, bad = known_owners(kept, tenants_of_source(source_id))
    given = _columns(known)
    with connection.cursor() as cursor:
        cursor.execute(STORE, [source_id, *given])
        (new,) = cursor.fetchone()
        cursor.execute(OTHERWISE, [*given, source_id])
        others = [known[place - 1] for (place,) in cursor.fetchall()]
    return new, [*bad, *map(_conflict, others)]


def _columns(known: Sequence[Kept]) -> list[Any]:
    return [
        array([k.event_id for k in known]),
        array([k.event.tenant_id for k in known]),
        array([k.event.application_id for k in known]),
        [k.event.model for k in known],
        [k.event.gib_hours for k in known],
        array([k.event.started_at for k in known]),
        array([k.event.finished_at for k in known]),
        array([k.sha.hex() for k in known]),
    ]


def _conflict(kept: Kept) -> Refused:
    detail = "This id was stored before with another content; what was stored stays"
    return Refused(kept.event_id, Reason.CONFLICT, detail, kept.raw, kept.event.tenant_id)


def sum_prefixes(cursor: Any) -> None:
    """Replace the sums of the hours in `roll_pair`."""
    cursor.execute(FORGET)
    cursor.execute(SUM)
