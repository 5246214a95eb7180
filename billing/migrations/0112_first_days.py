"""Days have their parts before the first event of theirs comes; from here on workers make them."""

from django.db import migrations

from tenants.base.locks import run_briefly

WEEK = r"""
WITH part AS (
    SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz
        AS ends_at
    FROM pg_class WHERE oid = 'usage_event_first'::regclass
)
SELECT qm_make_event_part((day AT TIME ZONE 'UTC')::date)
FROM part, generate_series(ends_at, now() + interval '7 days', interval '1 day') AS day
"""


def make(apps, schema_editor):
    run_briefly(schema_editor.connection, [WEEK])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0111_parts_of_days")]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
