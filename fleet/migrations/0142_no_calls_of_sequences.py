"""Calls of sequences' approvals are those of all approvals.

The table stays for processes of the version before, which still write it, but refers to nothing.
"""

from django.db import migrations

ALONE = """
DO $$
DECLARE
    key text;
BEGIN
    FOR key IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'sequence_call'::regclass AND contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE sequence_call DROP CONSTRAINT %I', key);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0141_calls_of_approvals"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ALONE, migrations.RunSQL.noop)],
            state_operations=[migrations.DeleteModel(name="SequenceCall")],
        ),
    ]
