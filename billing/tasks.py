"""Celery's doors. A message is only a bell; beat rings the same functions every few seconds."""

import time
from collections.abc import Callable
from datetime import datetime

import structlog
from celery import shared_task
from django.utils import timezone

from billing.actions import (
    allocation,
    anomalies,
    arrivals,
    budgets,
    calendars,
    calls,
    commitments,
    confidence,
    cost_methods,
    event_parts,
    gpu_retention,
    grants,
    periods,
    publication,
    quarantine,
    rating,
    rollup,
    seen_retention,
    sheet_publication,
)
from billing.drive import deliveries, events, exports, previews, reconciliations, retention
from billing.rules.lanes import LANES, Lane
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)
# Each pass is a transaction of its own. What is left after this long is for the next bell, well
# before the worker's limit ends the task in the middle of a pass.
SECONDS = 40.0


def repeat(one_pass: Callable[[datetime], int]) -> None:
    """Work until nothing is left or the time is over."""
    until = time.monotonic() + SECONDS
    while one_pass(timezone.now()) and time.monotonic() < until:
        pass


@shared_task(name="billing.tasks.roll_up")
def roll_up() -> None:
    repeat(rollup.roll_up)


@shared_task(name="billing.tasks.keep_budgets")
def keep_budgets() -> None:
    try:
        budgets.keep_budgets(timezone.now())
    except Unavailable as error:
        log.warning("budgets not kept, the next bell tries again", error=error.message)


@shared_task(name="billing.tasks.rate")
def rate() -> None:
    """A worker that comes while another is at work finds the other lane free."""
    rating.open_due(timezone.now())
    for lane in LANES:
        repeat(hours_of(lane))


def hours_of(lane: Lane) -> Callable[[datetime], int]:
    return lambda now: rating.rate_due(now, lane=lane).hours


@shared_task(name="billing.tasks.publish_prices")
def publish_prices(change_id: int = 0) -> None:
    """Rung with a decided change, swept without: what was approved is found in its rows."""
    publication.publish_approved(timezone.now())
    sheet_publication.publish_approved(timezone.now())


@shared_task(name="billing.tasks.preview_prices")
def preview_prices() -> None:
    repeat(previews.work_due)


@shared_task(name="billing.tasks.allocate")
def allocate() -> None:
    repeat(allocation.allocate_due)


@shared_task(name="billing.tasks.weigh_tokens")
def weigh_tokens() -> None:
    cost_methods.calibrate_due(timezone.now())


@shared_task(name="billing.tasks.keep_periods")
def keep_periods() -> None:
    """Open the periods that began; the sweep of decisions that a bell did not tell of."""
    periods.apply_decisions(timezone.now())
    calendars.keep_periods(timezone.now())


@shared_task(name="billing.tasks.change_decided")
def change_decided(change_id: int) -> None:
    """Somebody decided: the closed period that waited for it opens again, or stays."""
    periods.apply_decisions(timezone.now())


@shared_task(name="billing.tasks.decide_quarantine")
def decide_quarantine(change_id: int = 0) -> None:
    """Rung with a decided change, swept without: take, correct or drop what was approved."""
    quarantine.apply_decisions(timezone.now())


@shared_task(name="billing.tasks.keep_credits")
def keep_credits(change_id: int = 0) -> None:
    """Rung with a decided change, swept without: grant what was approved, end what is over."""
    grants.apply_decisions(timezone.now())
    grants.expire_due(timezone.now())


@shared_task(name="billing.tasks.call_people")
def call_people() -> None:
    calls.call_people(timezone.now())


@shared_task(name="billing.tasks.deliver_events")
def deliver_events() -> None:
    repeat(events.deliver_due)


@shared_task(name="billing.tasks.keep_engine_hours")
def keep_engine_hours() -> None:
    confidence.keep_engine_hours(timezone.now())


@shared_task(name="billing.tasks.keep_gateway_hours")
def keep_gateway_hours() -> None:
    """More often than reports end, so that none is missed."""
    arrivals.keep_gateway_hours(timezone.now())


@shared_task(name="billing.tasks.fold_arrivals")
def fold_arrivals() -> None:
    repeat(arrivals.fold_arrivals)


@shared_task(name="billing.tasks.find_anomalies")
def find_anomalies() -> None:
    anomalies.keep_anomalies(timezone.now())


@shared_task(name="billing.tasks.warn_of_ends")
def warn_of_ends() -> None:
    commitments.warn_of_ends(timezone.now())


# A file of some million rows takes minutes; the claim of a job holds as long.
@shared_task(name="billing.tasks.run_exports", soft_time_limit=1_500, time_limit=1_700)
def run_exports() -> None:
    exports.run_due(timezone.now())


@shared_task(name="billing.tasks.deliver_exports", soft_time_limit=1_500, time_limit=1_700)
def deliver_exports() -> None:
    deliveries.deliver_due(timezone.now())


@shared_task(name="billing.tasks.forget_gpu_intervals")
def forget_gpu_intervals() -> None:
    repeat(gpu_retention.forget_gpu_intervals)


@shared_task(name="billing.tasks.make_event_parts")
def make_event_parts() -> None:
    event_parts.make_parts(timezone.now())
    event_parts.move_days(timezone.now())


# A part of a day takes seconds; the first one may hold years.
@shared_task(name="billing.tasks.drop_event_parts", soft_time_limit=1_500, time_limit=1_700)
def drop_event_parts() -> None:
    retention.drop_parts(timezone.now())


# Once around it reads the whole table.
@shared_task(name="billing.tasks.forget_seen", soft_time_limit=1_500, time_limit=1_700)
def forget_seen() -> None:
    seen_retention.forget_seen(timezone.now())


# Of ten million requests it takes minutes.
@shared_task(name="billing.tasks.reconcile", soft_time_limit=1_500, time_limit=1_700)
def reconcile() -> None:
    reconciliations.reconcile_due(timezone.now())
