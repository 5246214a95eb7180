"""Freezes of years that no clock can tell, stored before these were refused, end with the last that
one can: whatever read the calendar raised.
"""

from django.db import migrations

LAST = """
UPDATE "freeze" SET
    starts_at = least(greatest(starts_at, '2000-01-01 00:00+00'), '2200-12-31 00:00+00'),
    ends_at = CASE WHEN ends_at IS NOT NULL
        THEN least(greatest(ends_at, '2000-01-02 00:00+00'), '2200-12-31 23:59+00') END
WHERE starts_at < '2000-01-01 00:00+00' OR starts_at >= '2201-01-01 00:00+00'
   OR ends_at < '2000-01-01 00:00+00' OR ends_at >= '2201-01-01 00:00+00'
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0150_no_negative_starts")]

    operations = [migrations.RunSQL(LAST, migrations.RunSQL.noop)]
