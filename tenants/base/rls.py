"""Migration operations for tenant tables: row level security, append-only tables."""

from django.db import migrations

POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON {table}
USING (
    (SELECT current_setting('app.fleet', true)) = 'on'
    OR {column} = ANY ((SELECT string_to_array(
        NULLIF(current_setting('app.tenant_ids', true), ''), ',')::bigint[])::bigint[])
);
"""
UNDO_POLICY = """
DROP POLICY tenant_isolation ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
"""
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION qm_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only();
"""


class EnableRLS(migrations.RunSQL):
    """Show rows of `table` only to the tenants of the transaction, its owner included.

    The inner SELECTs are evaluated once a statement, so the policy costs as much as a filter.
    """

    def __init__(self, table: str, column: str = "tenant_id") -> None:
        super().__init__(POLICY.format(table=table, column=column), UNDO_POLICY.format(table=table))
        self._args = (table, column)

    def deconstruct(self) -> tuple[str, list[str], dict[str, str]]:
        return (self.__class__.__qualname__, list(self._args), {})


class CompositeKey(migrations.RunSQL):
    """Refuse a row that points into another tenant: plain foreign keys bypass the policies.

    `target` needs a unique constraint on (tenant_id, id).
    """

    def __init__(self, table: str, column: str, target: str) -> None:
        name = f"{table}_{column}_same_tenant"
        super().__init__(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (tenant_id, {column})"
            f" REFERENCES {target} (tenant_id, id) DEFERRABLE INITIALLY DEFERRED;",
            f"ALTER TABLE {table} DROP CONSTRAINT {name};",
        )
        self._args = (table, column, target)

    def deconstruct(self) -> tuple[str, list[str], dict[str, str]]:
        return (self.__class__.__qualname__, list(self._args), {})


class AppendOnly(migrations.RunSQL):
    """Refuse UPDATE and DELETE on `table`, also by plain SQL.

    TRUNCATE is the owner's privilege alone, and the owner could drop the trigger as well.
    """

    def __init__(self, table: str) -> None:
        super().__init__(APPEND_ONLY.format(table=table), f"DROP TRIGGER append_only ON {table};")
        self._table = table

    def deconstruct(self) -> tuple[str, list[str], dict[str, str]]:
        return (self.__class__.__qualname__, [self._table], {})
