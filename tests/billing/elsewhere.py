"""What another session holds meanwhile: locks, rows."""

import threading
from contextlib import contextmanager

from django.db import connection

from tenants.base.scope import fleet_scope


@contextmanager
def elsewhere(statement, given):
    """Hold what a statement takes, on a connection of its own, while `with` lasts."""
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with fleet_scope(), connection.cursor() as cursor:
            cursor.execute(statement, given)
            held.set()
            let_go.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        yield
    finally:
        let_go.set()
        thread.join()
