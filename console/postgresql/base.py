"""The backend that settings name: its PostgreSQL is new enough, and where one connection of the
pool died, its idle ones did too.
"""

from typing import Any

import psycopg
from django.db.backends.postgresql import base, features
from psycopg_pool import ConnectionPool


class DatabaseFeatures(features.DatabaseFeatures):
    # Charges of a tenant are found in an index by hour, from hour to hour (skip scan).
    minimum_database_version = (18,)


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures

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
