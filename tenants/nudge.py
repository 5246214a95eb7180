"""Wake a worker soon after commit. A lost nudge costs seconds: the sweep finds the row."""

from typing import Any

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


MACHINES, LAST = 3, 9  # of the priorities 0 to 9; 0 is first


def nudge(task: str, *args: int | str, later: bool = False, machine: bool = False) -> None:
    """Send `task` with `args` once the open transaction has committed.

    `machine`: no person waits for it, so what a person asked for goes first, an abort above all.
    `later`: what a sweep finds by the dozen lets everything else go first.
    """

    def ring() -> None:
        try:
            priority = LAST if later else MACHINES if machine else None
            more: dict[str, Any] = {} if priority is None else {"priority": priority}
            current_app.send_task(task, args=list(args), retry=False, **more)
        except OperationalError as error:
            log.warning("nudge lost, the sweep will find the row", task=task, error=str(error))

    transaction.on_commit(ring, robust=True)
