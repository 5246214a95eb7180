"""Hours that must be rated together: whole months of tenants whose prices depend on the month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from billing.rules.calendars import Calendar
from billing.rules.rating import Period
from billing.rules.tariffs import Tariff

HOUR = timedelta(hours=1)
MOST_MONTHS = 30  # of tenants in one pass: each is read as a whole
HOURS = """
SELECT h.hour, h.tenant_id, h.version
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS m (tenant_id, starts, ends)
JOIN usage_hour_head h ON h.tenant_id = m.tenant_id AND h.hour >= m.starts AND h.hour < m.ends
ORDER BY h.hour, h.tenant_id
"""
Due = tuple[datetime, int, int]  # hour, tenant, version of the hour


@dataclass(frozen=True, slots=True)
class Together:
    """Hours to rate, and the months that are in them as a whole."""

    due: Sequence[Due]
    periods: Mapping[int, Sequence[Period]] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[list[datetime], list[int]]:
        return [hour for hour, _, _ in self.due], [tenant for _, tenant, _ in self.due]


def period_of(hour: datetime, calendar: Calendar, now: datetime) -> Period:
    """The month of the account that an hour belongs to: the one in which the hour begins."""
    month = calendar.month_at(hour)
    return Period(
        next_hour(month.starts_at),
        next_hour(month.ends_at),
        seen_at=now,
        cuts_shares=month.starts_at in calendar.cut_shares,
    )


def next_hour(at: datetime) -> datetime:
    """In UTC: by a zone's clock an hour more or less would be missing when it changes.

    In zones half an hour off, a month begins within an hour of UTC.
    """
    at = at.astimezone(UTC)
    return at if not at.minute else at.replace(minute=0) + HOUR


def whole_months(due: Sequence[Due], tariffs: Mapping[int, Tariff], now: datetime) -> Together:
    """Widen hours of monthly tariffs to their months. What is too much waits for the next pass."""
    wide: dict[tuple[int, Period], None] = {}
    rest: list[Due] = []
    for hour, tenant_id, version in due:
        tariff = tariffs.get(tenant_id)
        if tariff is None or not tariff.monthly:
            rest.append((hour, tenant_id, version))
        elif len(wide) < MOST_MONTHS:
            wide[tenant_id, period_of(hour, tariff.calendar, now)] = None
    if not wide:
        return Together(rest)
    periods: dict[int, list[Period]] = {}
    for tenant_id, period in wide:
        periods.setdefault(tenant_id, []).append(period)
    return Together(sorted([*rest, *_hours(wide)]), periods)


def _hours(months: Iterable[tuple[int, Period]]) -> list[Due]:
    found = list(months)
    columns: list[list[Any]] = [
        [tenant for tenant, _ in found],
        [p.starts_at for _, p in found],
        [p.ends_at for _, p in found],
    ]
    with connection.cursor() as cursor:
        cursor.execute(HOURS, columns)
        rows: list[Due] = cursor.fetchall()
        return rows
