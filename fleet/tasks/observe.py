"""Doors for what the observer's rows lead to: routing, findings, and their end."""

import structlog
from celery import shared_task
from django.utils import timezone

from fleet.actions import degradation, routing, trimming
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)


@shared_task(name="fleet.tasks.publish_routing")
def publish_routing() -> None:
    try:
        routing.publish_routing()
    except Unavailable as error:
        log.warning("routing not published, the next sweep tries again", error=error.message)


@shared_task(name="fleet.tasks.find_degradation")
def find_degradation() -> None:
    degradation.find(timezone.now())


@shared_task(name="fleet.tasks.trim_observations")
def trim_observations() -> None:
    log.info("observations trimmed", **trimming.trim(timezone.now()))
