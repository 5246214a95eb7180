"""Doors for what the observer's rows lead to: routing, findings, and their end."""

import structlog
from celery import shared_task

from fleet.actions import routing
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)


@shared_task(name="fleet.tasks.publish_routing")
def publish_routing() -> None:
    try:
        routing.publish_routing()
    except Unavailable as error:
        log.warning("routing not published, the next sweep tries again", error=error.message)
