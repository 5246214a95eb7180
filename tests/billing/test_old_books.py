"""Invoices of a database from before exchange rates go through every later migration unchanged.

Invoices are made here, then stored in a database of that age, as the code of then stored them: its
tables, its columns. Then the database is migrated as an installation would be.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg import sql

from sandbox.stores.postgres import DATABASE, connect_as_superuser
from tests.billing.books import ODD_PRICES, bill_month, set_account, spend, tax
from tests.billing.factories import make_prices
from tests.plugins.database import superuser
from tests.plugins.stores import SOCKETS

OLD = "books_of_old"
BEFORE, OF_EXCHANGE = "0033_exchange_rates", "0034_invoices_in_another_currency"
COLUMNS = """
SELECT c.table_name, c.column_name FROM information_schema.columns c
JOIN pg_class t ON t.oid = ('public.' || quote_ident(c.table_name))::regclass
WHERE c.table_schema = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition
AND c.is_generated = 'NEVER' AND c.table_name NOT IN ('django_migrations', 'django_content_type',
    'auth_permission')
ORDER BY 1, c.ordinal_position
"""
DOCUMENTS = "SELECT number, snapshot, sha256, pdf, pdf_sha256, total FROM invoice ORDER BY number"


@pytest.fixture
def old():
    """An empty database, and the settings of a process that works on it."""
    sockets = Path(os.environ[SOCKETS])
    with connect_as_superuser(sockets, "postgres") as server:
        server.execute(f"CREATE DATABASE {OLD} OWNER console_owner")
        urls = {
            name: os.environ[name].replace(f"/{DATABASE}?", f"/{OLD}?")
            for name in ("DATABASE_URL", "DATABASE_OWNER_URL")
        }
        yield os.environ | urls
        server.execute(f"DROP DATABASE {OLD} WITH (FORCE)")


def manage(env, *words):
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def columns(server):
    found: dict[str, list[str]] = {}
    for table, column in server.execute(COLUMNS):
        found.setdefault(table, []).append(column)
    return found


def hand_down(new: psycopg.Connection, old: psycopg.Connection) -> None:
    """What tables of then can hold of the rows of now, past triggers and keys."""
    now, then = columns(new), columns(old)
    old.execute("SET session_replication_role = replica")
    for table in sorted(now.keys() & then.keys()):
        shared = [sql.Identifier(name) for name in then[table] if name in now[table]]
        parts = [sql.Identifier(table), sql.SQL(", ").join(shared)]
        old.execute(sql.SQL("DELETE FROM {}").format(parts[0]))
        out = sql.SQL("COPY (SELECT {1} FROM {0}) TO STDOUT").format(*parts)
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(*parts)
        with new.cursor().copy(out) as rows, old.cursor().copy(into) as target:
            for part in rows:
                target.write(part)
    old.execute("SET session_replication_role = origin")


def stored(server):
    return [tuple(row) for row in server.execute(DOCUMENTS)]


@pytest.mark.django_db(transaction=True)
def test_invoices_from_before_exchange_rates_verify_after_every_later_migration(
    acme, globex, gateway, old
):
    make_prices(ODD_PRICES)
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    for tenant in (acme, globex):
        spend(gateway, tenant)
        bill_month(tenant)
    connection.close()
    manage(old, "migrate", "-v0", "billing", BEFORE)
    with superuser() as new, connect_as_superuser(Path(os.environ[SOCKETS]), OLD) as server:
        hand_down(new, server)
        assert not {"priced_in", "rate"} & set(columns(server)["invoice"])
        before = stored(server)
        assert len(before) == 2
        applied = server.execute("SELECT name FROM django_migrations WHERE app = 'billing'")
        assert OF_EXCHANGE not in {name for (name,) in applied}

    told = [json.loads(line) for line in manage(old, "migrate", "-v0", "--progress").splitlines()]
    percents = [line["percent"] for line in told]
    assert len(told) > 100 and percents == sorted(percents) and percents[-1] == 100
    assert told[-1]["text"] == f"{len(told)} of {len(told)} migrations"

    with connect_as_superuser(Path(os.environ[SOCKETS]), OLD) as server:
        assert stored(server) == before
        for _, snapshot, sha256, pdf, pdf_sha256, _ in before:
            assert hashlib.sha256(snapshot.encode()).hexdigest() == sha256
            assert hashlib.sha256(pdf).hexdigest() == pdf_sha256
            assert pdf.startswith(b"%PDF") and json.loads(snapshot)["total"]
        converted = "SELECT currency, priced_in, rate, rate_on, rate_source FROM invoice"
        assert set(server.execute(converted)) == {("USD", "USD", 1, None, "")}
        for change in "UPDATE invoice SET priced_in = 'EUR'", "DELETE FROM invoice_line":
            with pytest.raises(psycopg.Error, match="never changed"):
                server.execute(change)
    said = manage(old, "billing", "check", "--days", "3650")
    assert "All sums agree" in said
    assert "records and PDFs = those with the SHA-256 that was kept: 4 = 4  ok" in said
