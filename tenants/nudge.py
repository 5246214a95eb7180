"""Wake a worker soon after commit. A lost nudge costs seconds: the sweep finds the row."""

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


def nudge(task: str, *args: int | str) -> None:
    """Send `task` with `args` once the open transaction has committed."""

    def ring() -> None:
        try:
            current_app.send_task(task, args=list(args), retry=False)
        except OperationalError as error:
            log.warning("nudge lost, the sweep will find the row", task=task, error=str(error))

    transaction.on_commit(ring, robust=True)
