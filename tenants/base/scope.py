"""Row level security: who a transaction speaks for.

PostgreSQL shows a row of a tenant table only if the transaction said whose rows it may see. The
setting is local to the transaction: it cannot leak through a pooled connection.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction

from tenants.rules.access import Viewer


@contextmanager
def scope_of(viewer: Viewer) -> Iterator[None]:
    """See what `viewer` may see, inside one transaction."""
    with _scope(fleet=viewer.is_fleet, tenant_ids=viewer.tenant_ids):
        yield


@contextmanager
def fleet_scope() -> Iterator[None]:
    """See all tenants: for jobs that serve them all. Doors for people use `scope_of`."""
    with _scope(fleet=True, tenant_ids=()):
        yield


@contextmanager
def tenant_scope(tenant_id: int) -> Iterator[None]:
    with _scope(fleet=False, tenant_ids=(tenant_id,)):
        yield


@contextmanager
def _scope(*, fleet: bool, tenant_ids: Sequence[int]) -> Iterator[None]:
    outer = _read() if connection.in_atomic_block else None
    with transaction.atomic():
        _write("on" if fleet else "", ",".join(map(str, tenant_ids)))
        yield
        # A rollback undoes the setting by itself; a released savepoint keeps it.
        if outer is not None and not transaction.get_rollback():
            _write(*outer)


def _read() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(current_setting('app.fleet', true), ''),"
            " coalesce(current_setting('app.tenant_ids', true), '')"
        )
        fleet, tenant_ids = cursor.fetchone()
    return fleet, tenant_ids


def _write(fleet: str, tenant_ids: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('app.fleet', %s, true), set_config('app.tenant_ids', %s, true)",
            [fleet, tenant_ids],
        )
