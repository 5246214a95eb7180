"""How long after their end the events of each source arrive, and whose clock is wrong."""

from datetime import datetime, timedelta

from django.db import connection

from billing.rules.clocks import SourceClock
from tenants.rules.access import Permission, Viewer

WINDOW = timedelta(hours=24)
CLOCKS = """
WITH arrived AS (
    SELECT source_id, sum(events) AS events, min(least_ms) AS least, max(most_ms) AS most,
        max(arrived_at) AS at
    FROM (
        SELECT source_id, events, least_ms, most_ms, arrived_at FROM usage_source_hour
            WHERE arrived_at >= %(since)s
        UNION ALL SELECT source_id, events, least_ms, most_ms, arrived_at FROM usage_arrival
            WHERE arrived_at >= %(since)s
    ) AS each GROUP BY 1
), aside AS (
    SELECT source_id, count(*) FILTER (WHERE reason = 'future') AS future,
        count(*) FILTER (WHERE reason = 'too_late') AS late
    FROM usage_quarantine WHERE received_at >= %(since)s AND reason IN ('future', 'too_late')
    GROUP BY 1
)
SELECT source_id, coalesce(events, 0)::bigint, coalesce(least, 0), coalesce(most, 0), at,
    coalesce(future, 0), coalesce(late, 0)
FROM arrived FULL JOIN aside USING (source_id) ORDER BY source_id
"""


def source_clocks(viewer: Viewer, now: datetime) -> dict[int, SourceClock]:
    """Of the sources that something came from within a day, by id.

    Extremes are kept by hour, so one of a day ago may still be told with an hour of today.
    """
    viewer.require(Permission.VIEW_FLEET)
    with connection.cursor() as cursor:
        cursor.execute(CLOCKS, {"since": now - WINDOW})
        return {row[0]: SourceClock(*row) for row in cursor.fetchall()}
