"""How complete the figures are: what still waits on each step from request to charge."""

import json
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.queries.charged import edges
from billing.queries.hours import unrated_hours
from billing.rules.confidence import TOLERATED_DRIFT
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Completeness:
    """Zero everywhere means: every request that gateways reported is charged or free."""

    events: int  # stored, of the range
    quarantined: dict[str, int]  # all that wait for a person, by reason
    hours_to_roll_up: int
    hours_to_rate: int
    oldest_to_rate: datetime | None
    unpriced_rows: int
    unpriced_models: tuple[str, ...]
    prompt_tokens: int  # of the range, whatever the outcome: to compare with engines
    completion_tokens: int

    @property
    def is_complete(self) -> bool:
        waiting = self.hours_to_roll_up + self.hours_to_rate + self.unpriced_rows
        return not waiting and not self.quarantined


def completeness(
    viewer: Viewer, start: datetime, end: datetime, *, tenant_id: int | None = None
) -> Completeness:
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    waiting = unrated_hours(start, end, None if tenant_id is None else [tenant_id])
    with connection.cursor() as cursor:
        cursor.execute(STATE, edges(start, end) | {"tenant": tenant_id})
        *sums, marks, bad, unpriced = cursor.fetchone()
    (events, prompt, completion), models = map(int, sums), dict(json.loads(unpriced))
    return Completeness(
        events=events,
        quarantined=dict(json.loads(bad)),
        hours_to_roll_up=marks,
        hours_to_rate=len(waiting),
        oldest_to_rate=min((hour for hour, _ in waiting), default=None),
        unpriced_rows=sum(models.values()),
        unpriced_models=tuple(models),
        prompt_tokens=prompt,
        completion_tokens=completion,
    )


# One statement: the first page asks for it. Whole days are read as such, the hours at the edges
# one by one.
STATE = """
WITH tallied AS (
    SELECT events, prompt_tokens, completion_tokens FROM usage_day
        WHERE day >= %(first)s AND day < %(last)s {of}
    UNION ALL
    SELECT events, prompt_tokens, completion_tokens FROM usage_hour_head
        WHERE (hour >= %(start)s AND hour < %(first_at)s OR hour >= %(last_at)s AND hour < %(end)s)
            {of}
), bad AS (
    SELECT reason, count(*) AS n FROM usage_quarantine WHERE true {of} GROUP BY reason
), unpriced AS (
    SELECT model, count(*) AS n FROM unpriced_usage
        WHERE hour >= %(start)s AND hour < %(end)s {of} GROUP BY model
)
SELECT coalesce(sum(events), 0), coalesce(sum(prompt_tokens), 0),
    coalesce(sum(completion_tokens), 0),
    (SELECT count(*) FROM usage_hour_mark WHERE true {of}),
    (SELECT coalesce(jsonb_agg(jsonb_build_array(reason, n) ORDER BY reason), '[]') FROM bad),
    (SELECT coalesce(jsonb_agg(jsonb_build_array(model, n) ORDER BY model), '[]') FROM unpriced)
FROM tallied
""".format(of="AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)")


@dataclass(frozen=True, slots=True)
class TokenComparison:
    """Tokens as gateways metered them against the engines' own counters, over whole hours.

    Both sides are of the hours in which engines were read; the others are only counted.
    """

    service_id: int
    metered_prompt: int
    metered_completion: int
    counted_prompt: int
    counted_completion: int
    engines: int  # most in one hour
    hours: int  # compared
    hours_unknown: int  # with metered tokens, but no engine was read

    @property
    def drift(self) -> float | None:
        """Difference as a part of what engines counted; None when they counted nothing."""
        counted = self.counted_prompt + self.counted_completion
        metered = self.metered_prompt + self.metered_completion
        return abs(metered - counted) / counted if counted > 0 else None

    @property
    def is_alarming(self) -> bool:
        return self.drift is not None and self.drift > TOLERATED_DRIFT


COMPARED = """
WITH metered AS (
    SELECT service_id, hour, prompt_tokens, completion_tokens FROM usage_service_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND prompt_tokens + completion_tokens > 0
), counted AS (
    SELECT service_id, hour, prompt_tokens, completion_tokens, engines FROM engine_hour
    WHERE hour >= %(start)s AND hour < %(end)s
)
SELECT service_id,
    coalesce(sum(m.prompt_tokens) FILTER (WHERE c.hour IS NOT NULL), 0)::bigint,
    coalesce(sum(m.completion_tokens) FILTER (WHERE c.hour IS NOT NULL), 0)::bigint,
    sum(c.prompt_tokens)::bigint, sum(c.completion_tokens)::bigint, max(c.engines),
    count(c.hour), count(*) FILTER (WHERE c.hour IS NULL)
FROM metered m FULL JOIN counted c USING (service_id, hour)
GROUP BY service_id HAVING count(c.hour) > 0 ORDER BY service_id
"""


def compare_tokens(viewer: Viewer, start: datetime, end: datetime) -> list[TokenComparison]:
    """By service, for the whole hours in [start, end). Only services whose engines were read."""
    viewer.require(Permission.VIEW_MONEY)
    begin, stop = (at.replace(minute=0, second=0, microsecond=0) for at in (start, end))
    with connection.cursor() as cursor:
        cursor.execute(COMPARED, {"start": begin, "end": stop})
        return [TokenComparison(*row) for row in cursor.fetchall()]
