"""Wake a worker soon after commit. A lost nudge costs seconds: the sweep finds the row."""

from typing import Any

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


LAST = 9  # of the priorities 0 to 9


def nudge(task: str, *args: int | str, later: bool = False) -> None:
    """Send `task` with `args` once the open transaction has committed.

    `later`: what a sweep finds by the dozen lets everything go first that somebody waits for.
    """

    def ring() -> None:
        try:
            more: dict[str, Any] = {"priority": LAST} if later else {}
            current_app.send_task(task, args=list(args), retry=False, **more)
        except OperationalError as error:
            log.warning("nudge lost, the sweep will find the row", task=task, error=str(error))

    transaction.on_commit(ring, robust=True)
