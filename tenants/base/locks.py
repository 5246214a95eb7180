"""For migrations of large tables: no long wait for a lock, since who comes later waits behind."""

import time
from collections.abc import Sequence

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import DeadlockDetected, LockNotAvailable

WAIT = "2s"  # so long do others wait behind it at most
PAUSE = 1.0  # seconds, in which they get on
TRIES = 300  # about a quarter of an hour


def run_briefly(
    connection: BaseDatabaseWrapper, statements: Sequence[str], *, tries: int = TRIES
) -> None:
    """Run them in one transaction, again and again until every lock came at once.

    Raises the database's own error after the last try; nothing has changed then.
    """
    for left in reversed(range(tries)):
        try:
            with transaction.atomic(connection.alias), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{WAIT}'")
                for statement in statements:
                    cursor.execute(statement)
            return
        except OperationalError as error:
            if not left or not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            time.sleep(PAUSE)
