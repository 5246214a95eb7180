"""Every table with `tenant_id`, of every app: a stranger reads and writes nothing in it.

Found by the registry, so a new table is tried from its first day. Rows are made in SQL from the
columns' types, because the policy, not the model's code, is what is tried here.
"""

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from tenants.base.scope import fleet_scope, tenant_scope

OURS, THEIRS = 7001, 7002
TABLES = sorted(
    {
        model._meta.db_table
        for app in ("tenants", "fleet", "billing")
        for model in apps.get_app_config(app).get_models()
        if any(f.column == "tenant_id" for f in model._meta.concrete_fields)
    }
)
# Only a function of the owner inserts here: see what it keeps of requests that were dropped.
READ_ONLY = {"usage_day_dropped", "usage_estimate_dropped"}
WRITTEN = [table for table in TABLES if table not in READ_ONLY]
COLUMNS = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = %s AND is_identity = 'NO'
    AND is_nullable = 'NO' AND column_default IS NULL
    AND is_generated = 'NEVER' AND column_name <> 'tenant_id'
"""
VALUES = {
    "ARRAY": "'{}'",
    "USER-DEFINED": "'{}'",
    "bigint": "1",
    "boolean": "false",
    "bytea": "''",
    "character varying": "'x'",
    "date": "now()",
    "double precision": "1",
    "integer": "1",
    "interval": "'1 hour'",
    "jsonb": "'{}'",
    "numeric": "1",
    "smallint": "1",
    "text": "'x'",
    "timestamp with time zone": "now()",
    "time without time zone": "'04:00'",
    "tstzrange": "tstzrange(now(), NULL)",
    "uuid": "gen_random_uuid()",
}
# Where a rule of the table forbids the plain value: one leg alone balances at zero only.
OWN_VALUES = {("journal_leg", "amount"): "0"}

# What a trigger asks for at once, where a foreign key would wait for the end.
PARENTS = {
    "charge": (
        "INSERT INTO rating_run (id, started_at, finished_at, hours, charges, input_sha,"
        " rules_version) VALUES (1, now(), now(), 1, 1, '', '')",
        "INSERT INTO price_book (id, version, created_at, changed_at, slug, name, currency)"
        " VALUES (1, 1, now(), now(), 'x', 'x', 'x')",
        "INSERT INTO price_book_version (id, number, why, created_at, created_by, published_by,"
        " book_id) VALUES (1, 1, '', now(), '', '', 1)",
    )
}


def run(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def insert(table, tenant_id):
    columns = run(COLUMNS, table)
    names = ", ".join(["tenant_id", *(f'"{name}"' for name, _ in columns)])
    values = ", ".join(
        [str(tenant_id), *(OWN_VALUES.get((table, name), VALUES[kind]) for name, kind in columns)]
    )
    run(f"INSERT INTO {table} ({names}) VALUES ({values})")


def count(table):
    return run(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", OURS)[0][0]


@pytest.fixture
def undone(db):
    """Undo all, before the deferred foreign keys ask for the parents of these rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_it_finds_tables():
    assert {"application", "api_key", "quota", "audit_event", "model_grant"} <= set(TABLES)


@pytest.mark.parametrize("table", WRITTEN)
def test_it_shows_a_stranger_no_row(undone, table):
    with fleet_scope():
        for statement in PARENTS.get(table, ()):
            run(statement)
        insert(table, OURS)
        assert count(table) == 1
    assert count(table) == 0, "without a scope"
    with tenant_scope(THEIRS):
        assert count(table) == 0, "in the scope of another tenant"
    with tenant_scope(OURS):
        assert count(table) == 1, "in the tenant's own scope"


@pytest.mark.parametrize("table", WRITTEN)
def test_it_takes_no_row_that_a_stranger_writes_for_us(undone, table):
    with (
        tenant_scope(THEIRS),
        pytest.raises(DatabaseError, match="row-level security"),
        transaction.atomic(),
    ):
        insert(table, OURS)


@pytest.mark.parametrize("table", sorted(READ_ONLY))
def test_it_takes_no_row_of_anybody_where_only_the_owner_writes(undone, table):
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
    ):
        insert(table, OURS)


@pytest.mark.parametrize("table", sorted(READ_ONLY))
def test_it_shows_what_only_the_owner_writes_by_the_policy_of_all_others(db, table):
    found = "SELECT permissive, cmd, qual, with_check FROM pg_policies WHERE tablename = %s"
    policies = run(found, table)
    assert policies
    assert policies == run(found, "usage_event")


@pytest.mark.parametrize("table", [*TABLES, "tenant"])
def test_it_binds_the_owner_too(db, table):
    found = run(
        "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = %s", table
    )
    assert found == [(True, True)]
