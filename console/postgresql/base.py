"""The backend that settings name. Where one connection of the pool died, its idle ones did too."""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> Any:
        """Django's own, with another check. Its loop tries dead connections one by one and waits
        longer each time: 10 s for a handful of them, where all can be replaced at once.
        """
        pool = super().pool
        if pool is not None and pool._check is ConnectionPool.check_connection:  # noqa: SLF001
            pool._check = checking(pool)  # noqa: SLF001  # Django passes no other check on
        return pool


def checking(pool: Any) -> Any:
    def check(connection: "psycopg.Connection[Any]") -> None:
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.Error:
            pool.drain()
            raise

    return check
