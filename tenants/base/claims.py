"""A claim that lasts as long as its pass, and ends soon after a worker that was killed."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from django.db import DatabaseError, connection

from tenants.base.rows import CLAIM, Claimable
from tenants.base.scope import fleet_scope

PARTS = 4  # renewals that may fail before the claim ends

log = structlog.get_logger(__name__)


@contextmanager
def claimed(
    rows: type[Claimable], pk: int, *, hold: timedelta = CLAIM
) -> Iterator[uuid.UUID | None]:
    """The one supervisor of passes: the row is ours until the block ends. None: another's.

    A pass that raises leaves its traceback with the row, which is looked at later each time: a
    poisoned row must not stop the others.
    """
    with fleet_scope():
        claim = rows.take_claim(pk, hold=hold)
    if claim is None:
        yield None
        return
    try:
        with renewed(rows, pk, claim, hold=hold):
            yield claim
    except Exception:
        rows.park(pk, claim)
        raise


@contextmanager
def renewed(
    rows: type[Claimable], pk: int, claim: uuid.UUID, *, hold: timedelta = CLAIM
) -> Iterator[None]:
    """Hold the claim for `hold` from now on, again and again, until the block ends.

    A block that never ends holds it for ever: the task's time limit is the bound. A process that
    is frozen renews nothing; it has to ask whether the claim is still its own before it writes.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(over, rows, pk, claim, hold), name=f"claim-{pk}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(
    over: threading.Event, rows: type[Claimable], pk: int, claim: uuid.UUID, hold: timedelta
) -> None:
    every = hold.total_seconds() / PARTS
    try:
        while not over.wait(every):
            try:
                with fleet_scope():
                    if not rows.keep_claim(pk, claim, hold=hold):
                        return
            except DatabaseError as error:
                log.warning("claim not renewed", row=pk, error=str(error))
                connection.close()
    finally:
        connection.close()
