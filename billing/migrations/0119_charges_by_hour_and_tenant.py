"""One index for two: of charges by hour, and of one tenant's by skipping from hour to hour.

Rating writes in this order, so that its end is all that it touches.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index comes beside writers, and that outside of a transaction
    dependencies = [("billing", "0118_days_leave_the_default")]

    operations = [
        # What a migration that broke off left is no index yet.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS charge_hour_tenant", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            "charge", models.Index(fields=["hour", "tenant_id"], name="charge_hour_tenant")
        ),
    ]
