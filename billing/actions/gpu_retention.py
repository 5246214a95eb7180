"""How long intervals of single GPUs stay: until no cost can be computed from them any more.

They are summed up by the hour when cost is attributed: pools keep the time of every product, node
pool and state, shares what it was for, and pages and files read those. An interval goes when

1. it ended QM_GPU_INTERVAL_DAYS ago: attribution looks back 62 days and no further, so neither late
   usage nor another price asks for it again, and
2. it ended before every period that is not closed.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min

from billing.actions.allocation import LOOK_BACK
from billing.models import BillingPeriod
from billing.rules.periods import PeriodState
from fleet.actions.gpu_intervals import forget_intervals
from tenants.base.scope import fleet_scope

# Reading begins at a whole hour, and a worker may be late.
LEAST = LOOK_BACK + timedelta(days=1)


def forget_gpu_intervals(now: datetime) -> int:
    """Forget some of those that are no longer needed; answers how many."""
    with fleet_scope():
        return forget_intervals(needed_from(now))


def needed_from(now: datetime) -> datetime:
    """In the fleet's scope: what ended before it, nobody needs."""
    kept = now - max(LEAST, timedelta(days=settings.QM_GPU_INTERVAL_DAYS))
    periods = BillingPeriod.objects.exclude(state=PeriodState.CLOSED.value)
    first: datetime | None = periods.aggregate(at=Min("starts_at"))["at"]
    return kept if first is None else min(kept, first)
