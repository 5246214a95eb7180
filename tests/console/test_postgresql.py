"""The pool after the end of every connection, and a server that is too old."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import NotSupportedError, connection

from tests.plugins.database import end_connections

pytestmark = pytest.mark.django_db(transaction=True)
IDLE = 8  # tried one by one they outlast whoever waits for a connection


def ask(barrier: threading.Barrier) -> None:
    """Leave one more idle connection in the pool."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        barrier.wait()
    connection.close()


def test_whoever_comes_next_gets_a_connection_though_all_that_were_idle_died():
    barrier = threading.Barrier(IDLE)
    with ThreadPoolExecutor(IDLE) as others:
        list(others.map(ask, [barrier] * IDLE))
    end_connections()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_an_older_server_is_refused_with_both_versions(monkeypatch):
    monkeypatch.setattr(connection, "get_database_version", lambda: (17, 4))
    with pytest.raises(NotSupportedError, match=r"PostgreSQL 18 or later is required .found 17.4"):
        connection.check_database_version_supported()
