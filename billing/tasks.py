"""Celery's doors. A message is only a bell; beat rings the same functions every few seconds."""

import structlog
from celery import shared_task
from django.utils import timezone

from billing import drive
from billing.actions import allocation, budgets, rating, rollup
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)
MOST_PASSES = 40  # each a transaction of its own; the rest is for the next bell


@shared_task(name="billing.tasks.roll_up")
def roll_up() -> None:
    for _ in range(MOST_PASSES):
        if not rollup.roll_up(timezone.now()):
            return


@shared_task(name="billing.tasks.keep_budgets")
def keep_budgets() -> None:
    try:
        budgets.keep_budgets(timezone.now())
    except Unavailable as error:
        log.warning("budgets not kept, the next bell tries again", error=error.message)


@shared_task(name="billing.tasks.rate")
def rate() -> None:
    for _ in range(MOST_PASSES):
        if not rating.rate_due(timezone.now()).hours:
            return


@shared_task(name="billing.tasks.allocate")
def allocate() -> None:
    for _ in range(MOST_PASSES):
        if not allocation.allocate_due(timezone.now()):
            return


@shared_task(name="billing.tasks.run_exports")
def run_exports() -> None:
    drive.run_due(timezone.now())
