"""All usage so far fits into one part of a partitioned table: its key has the time, it has an end.

Beside running writers: the table is read twice, no lock stays longer than a moment. The end lies a
week ahead, so the next migration is to follow within days; of an empty table it is today.
"""

from datetime import UTC, datetime, timedelta

from django.db import migrations, transaction

from tenants.base.locks import run_briefly

AHEAD = timedelta(days=7)
NEWEST = "SELECT max(event_time), now() FROM usage_event"
KEY = (
    "DROP INDEX CONCURRENTLY IF EXISTS usage_event_key",  # half made, by a try that broke off
    "CREATE UNIQUE INDEX CONCURRENTLY usage_event_key ON usage_event (event_time, id)",
)
END = (
    "ALTER TABLE usage_event DROP CONSTRAINT IF EXISTS usage_event_ends",
    "ALTER TABLE usage_event ADD CONSTRAINT usage_event_ends"
    " CHECK (event_time < '{end}') NOT VALID",
)
CHECK = "ALTER TABLE usage_event VALIDATE CONSTRAINT usage_event_ends"


def first_day_after(newest, now):
    """An event that was taken from quarantine may lie far ahead: it is a part of this part."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    if newest is None:
        return midnight
    newest = newest.astimezone(UTC)
    behind = datetime(newest.year, newest.month, newest.day, tzinfo=UTC) + timedelta(days=1)
    return max(midnight + AHEAD, behind)


def make(apps, schema_editor):
    connection = schema_editor.connection
    with transaction.atomic(connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.fleet', 'on', true)")
        cursor.execute(NEWEST)
        newest, now = cursor.fetchone()
    end = first_day_after(newest, now.astimezone(UTC))
    with connection.cursor() as cursor:
        for statement in KEY:
            cursor.execute(statement)
    run_briefly(connection, [s.format(end=end.isoformat()) for s in END])
    with connection.cursor() as cursor:
        cursor.execute(CHECK)


def undo(apps, schema_editor):
    run_briefly(schema_editor.connection, END[:1])
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(KEY[0])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0108_ids_are_forgotten")]

    operations = [migrations.RunPython(make, undo)]
