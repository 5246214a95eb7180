"""Celery's doors. A message is only a bell; beat rings the same functions every few seconds."""

import structlog
from celery import shared_task

from tenants.actions import changes, idempotency, policy, snapshots
from tenants.base.scope import fleet_scope
from tenants.errors import Unavailable

log = structlog.get_logger(__name__)


@shared_task(name="tenants.tasks.publish_policy")
def publish_policy() -> None:
    try:
        policy.publish_policy()
    except Unavailable as error:
        log.warning("policy not published, the next sweep tries again", error=error.message)


@shared_task(name="tenants.tasks.expire_changes")
def expire_changes() -> None:
    with fleet_scope():
        changes.expire()
        idempotency.forget_old()
        snapshots.forget_readers()
