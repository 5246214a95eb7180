"""Attribute the fleet's cost, hour by hour.

1. Take the lock of attribution, or leave.
2. Find hours that were observed and have no run, or whose usage, GPU prices or reservations
   changed since; and each hour before one of these, in which its requests may have begun.
3. Cut each into pools, price them, split them; write run, pools and shares, and let the new run
   take the place of the old one. The same inputs write nothing.
4. Sum the touched days again.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, Sum

from billing.actions.pool_costs import Priced, elapsed_ms, pools_of, price_pools
from billing.actions.rating import LOCK as RATING_LOCK
from billing.models import Allocation, AllocationRun, CostPool, GpuPriceSheet, UsageHour
from billing.queries.cost_methods import read_choices, read_weights
from billing.queries.reservations import reservations_at
from billing.rules.allocation import (
    METHOD,
    SERVING,
    WORK_METHOD,
    Consumer,
    GpuPool,
    Share,
    Source,
    allocate_pool,
    serving_ms,
)
from billing.rules.reservations import Reservation, charge_owners
from billing.rules.token_work import Use, Weights, allocate_work, method_at
from fleet.queries.inventory import observed_hours
from tenants.base.scope import fleet_scope

LOCK = RATING_LOCK + 1
LOOK_BACK = timedelta(days=62)
HOUR = timedelta(hours=1)
MOST_HOURS = 48
# The running hour is attributed so far, now and then; each time is a whole new run.
EARLY = timedelta(minutes=10)

# Whoever wrote a time may have begun so long before others saw what it wrote: a worker's limit.
LONGEST = "interval '2 minutes'"
CHANGED = f"""
SELECT r.hour FROM allocation_run r WHERE r.is_current AND r.hour >= %s AND (
    r.finished_at < r.hour + interval '1 hour 2 minutes'
    OR EXISTS (SELECT 1 FROM usage_hour_head h WHERE h.hour = r.hour
        AND h.rolled_at > r.finished_at - {LONGEST})
    OR NOT EXISTS (SELECT 1 FROM gpu_price_sheet s WHERE s.id = r.sheet_id
        AND s.effective @> r.hour)
    OR EXISTS (SELECT 1 FROM gpu_reservation v WHERE v.changed_at > r.finished_at - {LONGEST}
        AND v.starts_at <= r.hour AND coalesce(v.ends_at, 'infinity') > r.hour)
)
"""
FORGET_DAYS = "DELETE FROM cost_day WHERE day = ANY(%s)"
SUM_DAYS = """
INSERT INTO cost_day (day, kind, tenant_id, application_id, model, release, product, state,
    currency, weight, amount, saved)
SELECT d.day, a.kind, a.tenant_id, a.application_id, a.model, a.release, p.product, p.state,
    r.currency, sum(a.weight), sum(a.amount), sum(a.saved)
FROM unnest(%s::date[]) AS d (day)
JOIN allocation_run r ON r.is_current AND r.hour >= d.day::timestamp AT TIME ZONE 'UTC'
    AND r.hour < (d.day + 1)::timestamp AT TIME ZONE 'UTC'
JOIN cost_pool p ON p.run_id = r.id
JOIN allocation a ON a.pool_id = p.id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """How an hour is shared: its method, and the weights that it takes."""

    method: str
    weights: Mapping[str, Weights]

    def shares(
        self, pool: GpuPool, cost: Decimal, used: Mapping[Consumer, Use], service_ms: int
    ) -> list[Share]:
        if self.method == WORK_METHOD:
            return allocate_work(pool, cost, used, service_ms, self.weights)
        engine = {consumer: use.engine_ms for consumer, use in used.items()}
        return allocate_pool(pool, cost, engine, service_ms)


def allocate_due(now: datetime) -> int:
    """Attribute what is due. Returns how many hours got a new run."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        choices = read_choices()
        done = [
            hour
            for hour in _due(cursor, now)
            if _allocate(hour, method_at(choices, hour, METHOD), now)
        ]
        if done:
            _sum_days(cursor, sorted({hour.date() for hour in done}))
        return len(done)


def _due(cursor: Any, now: datetime) -> list[datetime]:
    since = now - LOOK_BACK
    current = AllocationRun.objects.filter(is_current=True, hour__gte=since)
    finished = dict(current.values_list("hour", "finished_at"))
    cursor.execute(CHANGED, [since])
    changed = {row[0] for row in cursor.fetchall()}
    due = []
    for hour in observed_hours(since, now):
        is_running = now < hour + timedelta(hours=1, minutes=2)
        last = finished.get(hour)
        if last is None or (hour in changed and not (is_running and last > now - EARLY)):
            due.append(hour)
    # Newest first: what people look at comes soonest, the past is filled in pass by pass.
    due = sorted(due, reverse=True)[:MOST_HOURS]
    before = {hour - HOUR for hour in due} & finished.keys()
    return sorted({*due, *before}, reverse=True)


def _allocate(hour: datetime, method: str, now: datetime) -> bool:
    sheet = GpuPriceSheet.objects.filter(effective__contains=hour).first()
    if sheet is None:
        return False  # listed as hours without a price, never as hours that cost nothing
    priced = price_pools(sheet, pools_of(hour), hour, now)
    used = _used(hour)
    reserved = reservations_at(hour)
    rule = Rule(method, read_weights(hour) if method == WORK_METHOD else {})
    digest = _digest(rule, sheet, [p.pool for p in priced], used, reserved)
    current = AllocationRun.objects.filter(hour=hour, is_current=True)
    if current.filter(input_sha=digest).update(finished_at=now):
        return False
    current.update(is_current=False)
    _write(hour, rule, sheet, priced, used, reserved, digest, now)
    return True


def _used(hour: datetime) -> dict[Source, dict[Consumer, Use]]:
    """GPU time and tokens by source and consumer; what failed has used GPUs as well.

    Of requests that were in an engine before the hour in which they ended, that part, and its part
    of their tokens, is of the hour before.
    """
    found: dict[Source, dict[Consumer, Use]] = defaultdict(dict)
    for source, consumer, use, before in _ended(hour):
        found[source][consumer] = use.less(use.part(before))
    for source, consumer, use, before in _ended(hour + HOUR):
        if before:
            mine = found[source].get(consumer, Use(0))
            found[source][consumer] = mine.more(use.part(before))
    return found


def _ended(hour: datetime) -> Iterator[tuple[Source, Consumer, Use, int]]:
    """Of requests that ended in the hour, with the GPU time from before it.

    What a hosted provider answered is kept apart: it took no time of the fleet's own GPUs.
    """
    rows = UsageHour.objects.filter(hour=hour, gpu_ms__gt=0)
    is_hosted = ExpressionWrapper(~Q(hosted=""), BooleanField())
    names = "service_id", "is_hosted", "tenant_id", "application_id", "model", "release"
    sums = (
        rows.annotate(is_hosted=is_hosted)
        .values_list(*names)
        .annotate(
            Sum("gpu_ms"), Sum("prompt_tokens"), Sum("cached_tokens"), Sum("completion_tokens"),
            Sum("before_ms"),
        )
    )  # fmt: skip
    for service, hosted, *names_of_one, ms, prompt, cached, completion, before in sums:
        use = Use(ms, prompt - cached, cached, completion)
        yield (service, hosted), Consumer(*names_of_one), use, before


def _digest(
    rule: Rule,
    sheet: GpuPriceSheet,
    pools: Sequence[GpuPool],
    used: Mapping[Source, Mapping[Consumer, Use]],
    reserved: Sequence[Reservation],
) -> str:
    inputs = [rule.method, str(sheet.pk), *sorted(map(str, pools)), *map(str, reserved)]
    inputs += [f"{release} {rule.weights[release]}" for release in sorted(rule.weights)]
    for service, hosted in sorted(used):
        of = f"hosted {service}" if hosted else f"{service}"
        own = used[service, hosted]
        inputs += [f"{of} {c} {own[c]}" for c in sorted(own)]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def _write(
    hour: datetime,
    rule: Rule,
    sheet: GpuPriceSheet,
    priced: Sequence[Priced],
    used: Mapping[Source, Mapping[Consumer, Use]],
    reserved: Sequence[Reservation],
    digest: str,
    now: datetime,
) -> None:
    pools, costs = [p.pool for p in priced], [p.cost for p in priced]
    run = AllocationRun.objects.create(
        hour=hour,
        method=rule.method,
        currency=sheet.currency,
        sheet=sheet,
        cost=sum((c for c in costs if c is not None), Decimal(0)),
        gpu_ms=sum(p.gpu_ms for p in pools),
        input_sha=digest,
        finished_at=now,
    )
    rows = _pool_rows(run, priced)
    totals = serving_ms(pools)
    cut: list[tuple[CostPool, GpuPool, list[Share]]] = []
    for row, pool, cost in zip(rows, pools, costs, strict=True):
        if cost is not None:
            mine = used.get(pool.source, {}) if pool.state == SERVING else {}
            whole = totals.get(pool.source, 0)
            cut.append((row, pool, rule.shares(pool, cost, mine, whole)))
    owned = charge_owners([(p, s) for _, p, s in cut], reserved, elapsed_ms(hour, now))
    shares = [s for (row, _, _), of in zip(cut, owned, strict=True) for s in _shares(row, of)]
    Allocation.objects.bulk_create(shares, batch_size=2_000)


def _pool_rows(run: AllocationRun, priced: Sequence[Priced]) -> list[CostPool]:
    return CostPool.objects.bulk_create(
        CostPool(
            run=run,
            hour=run.hour,
            cluster=of.pool.cluster,
            product=of.pool.product,
            node_pool=of.pool.node_pool,
            capacity=of.pool.capacity,
            profile=of.pool.profile,
            state=of.pool.state,
            service_id=of.pool.service_id,
            gpu_ms=of.pool.gpu_ms,
            hourly=of.hourly,
            cost=of.cost,
            price_id=of.line.price_id if of.line else None,
        )
        for of in priced
    )


def _shares(row: CostPool, shares: Sequence[Share]) -> list[Allocation]:
    return [
        Allocation(
            pool=row,
            hour=row.hour,
            kind=share.kind,
            tenant_id=share.consumer.tenant_id if share.consumer else None,
            application_id=(share.consumer.application_id or None) if share.consumer else None,
            model=share.model,
            release=share.consumer.release if share.consumer else "",
            weight=share.weight,
            amount=share.amount,
            saved=share.saved,
        )
        for share in shares
    ]


def _sum_days(cursor: Any, days: Sequence[date]) -> None:
    cursor.execute(FORGET_DAYS, [list(days)])
    cursor.execute(SUM_DAYS, [list(days)])
