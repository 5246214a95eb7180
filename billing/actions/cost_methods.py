"""Choose the method of sharing cost, and fit the weights of tokens that it may take."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from billing.actions.other_costs import LOCK as OTHER_COSTS_LOCK
from billing.models import CostMethod, WorkWeight
from billing.queries.cost_methods import read_choices
from billing.rules.allocation import METHOD, METHODS
from billing.rules.token_work import Sample, calibrate, method_at
from billing.rules.years import SAID, is_known
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tenants.rules.access import Permission, Viewer

LOCK = OTHER_COSTS_LOCK + 1
HOUR = timedelta(hours=1)
EACH = timedelta(hours=24)  # how often a release's weights are fitted again
SPAN = timedelta(hours=24)  # whose requests they are fitted to
MOST_READ, MOST_SAMPLES = 200_000, 2_000
# The newest requests, and of each release the newest of these: what is read stays bounded.
SAMPLES = """
SELECT release, request_id::text, fresh, completion_tokens, gpu_ms, event_time
FROM (
    SELECT *, row_number() OVER (PARTITION BY release ORDER BY event_time DESC, id DESC) AS place
    FROM (
        SELECT id, release, request_id, prompt_tokens - cached_tokens AS fresh, completion_tokens,
            gpu_ms * gpus AS gpu_ms, event_time, outcome
        FROM usage_event WHERE event_time >= %s AND event_time < %s
        ORDER BY event_time DESC, id DESC LIMIT %s
    ) AS newest
    WHERE outcome = 'served' AND release <> '' AND gpu_ms > 0
) AS of_release
WHERE place <= %s AND release <> ALL(%s) ORDER BY release, request_id
"""


@transaction.atomic
def choose_method(
    viewer: Viewer, method: str, *, starts_at: datetime, why: str, now: datetime
) -> CostMethod:
    """From the hour `starts_at` on. Hours that began keep theirs: it must lie ahead."""
    viewer.require(Permission.MANAGE_MONEY)
    problems = {}
    if method not in METHODS:
        problems["method"] = f"There is no method {method!r}; there are {', '.join(METHODS)}"
    if not is_known(starts_at):
        problems["starts_at"] = SAID
    elif starts_at != starts_at.replace(minute=0, second=0, microsecond=0):
        problems["starts_at"] = f"{starts_at:%Y-%m-%d %H:%M} is no full hour: write 14:00"
    elif starts_at <= now:
        problems["starts_at"] = "Hours that began keep their method: choose a later hour"
    if not why.strip():
        problems["why"] = "Say why: whoever compares two months will ask"
    if problems:
        raise Invalid(**problems)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    before = method_at(read_choices(), starts_at, METHOD)
    made = CostMethod.objects.create(
        method=method,
        starts_at=starts_at,
        why=why.strip(),
        chosen_at=now,
        chosen_by=viewer.email,
    )
    record(
        viewer,
        "cost_method.choose",
        made,
        why=made.why,
        before={"method": before},
        after={"method": method, "starts_at": starts_at.isoformat()},
    )
    return made


def calibrate_due(now: datetime) -> int:
    """Fit the weights of releases that answered lately. Returns how many got a new version.

    They count from the next full hour on, so no hour is ever shared by weights that came later.
    """
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        fresh = WorkWeight.objects.filter(made_at__gt=now - EACH).values_list("release", flat=True)
        cursor.execute(SAMPLES, [now - SPAN, now, MOST_READ, MOST_SAMPLES, list(fresh)])
        found: dict[str, list[tuple[Sample, datetime]]] = defaultdict(list)
        for release, *values, at in cursor.fetchall():
            found[release].append((Sample(*values), at))
        numbers = Counter(
            WorkWeight.objects.filter(release__in=list(found)).values_list("release", flat=True)
        )
        rows = [_weight(name, numbers[name] + 1, found[name], now) for name in sorted(found)]
        WorkWeight.objects.bulk_create(rows)
        return len(rows)


def _weight(
    release: str, number: int, samples: list[tuple[Sample, datetime]], now: datetime
) -> WorkWeight:
    fitted = calibrate(sample for sample, _ in samples)
    times: list[Any] = [at for _, at in samples]
    return WorkWeight(
        release=release,
        number=number,
        starts_at=now.replace(minute=0, second=0, microsecond=0) + HOUR,
        prefill_ns=fitted.prefill_ns,
        decode_ns=fitted.decode_ns,
        fit=fitted.fit,
        samples=fitted.samples,
        first_at=min(times),
        last_at=max(times),
        samples_sha=fitted.sha,
        usable=fitted.usable,
        why=fitted.why,
        made_at=now,
    )
