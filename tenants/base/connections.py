"""Connections to PostgreSQL that ended with their server or network."""

from django.db import connection


def forget_dead() -> None:
    """After one died, replace all that are idle.

    They died with it. The pool would try them one after the other and wait longer each time, 10 s
    and more for a handful of them.
    """
    connection.close()
    if pool := getattr(connection, "pool", None):  # of PostgreSQL's alone
        pool.drain()
