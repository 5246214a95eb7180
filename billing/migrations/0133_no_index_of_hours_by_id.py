"""Hours and their heads are found by their keys; an index by id was only ever written.

The columns stay: lists order the rows of an hour by them.
"""

from django.db import migrations

TABLES = ("usage_hour", "usage_hour_head")


class Migration(migrations.Migration):
    dependencies = [("billing", "0132_no_young_part_goes")]

    operations = [
        migrations.RunSQL(
            [f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey" for table in TABLES],
            [f"ALTER TABLE {table} ADD PRIMARY KEY (id)" for table in TABLES],
        )
    ]
