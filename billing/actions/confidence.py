"""Keep what engines counted, hour by hour, before the samples that say so are gone."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import Max

from billing.models import EngineHour
from fleet.queries.engines import token_counters
from tenants.base.scope import fleet_scope

HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=5)  # after the end of an hour: every engine was read once more
Counts = Mapping[tuple[datetime, int], tuple[int, int]]  # hour, service: tokens in, out
KEPT = timedelta(hours=46)  # samples are there for two days


def keep_engine_hours(now: datetime) -> int:
    """Count each hour that is over since the last one kept. Returns how many rows were written.

    Hours without any engine leave no row and are looked at again; hours whose samples ended
    before anybody counted them stay unknown, and the comparison says how many.
    """
    written = 0
    with fleet_scope():
        last = EngineHour.objects.aggregate(at=Max("hour"))["at"]
        hour = whole_hour(now - KEPT)
        if last is not None:
            hour = max(hour, last + HOUR)
        while hour + HOUR <= now - SETTLED:
            rows = [
                EngineHour(
                    hour=hour,
                    service_id=count.service_id,
                    prompt_tokens=count.prompt_tokens,
                    completion_tokens=count.completion_tokens,
                    engines=count.engines,
                )
                for count in token_counters(hour, hour + HOUR)
            ]
            EngineHour.objects.bulk_create(rows, ignore_conflicts=True)
            written += len(rows)
            hour += HOUR
    return written


def keep_counted(counts: Counts) -> None:
    """Keep what somebody else knows of hours that are over; what was read here stays."""
    with fleet_scope():
        EngineHour.objects.bulk_create(
            (
                EngineHour(
                    hour=hour,
                    service_id=service_id,
                    prompt_tokens=prompt,
                    completion_tokens=completion,
                    engines=1,
                )
                for (hour, service_id), (prompt, completion) in counts.items()
            ),
            ignore_conflicts=True,
        )


def whole_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
