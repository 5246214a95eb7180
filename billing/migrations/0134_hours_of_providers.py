"""Hours that hosted providers answered in: few, and asked for with each sum of costs."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index comes beside writers, and that outside of a transaction
    dependencies = [("billing", "0133_no_index_of_hours_by_id")]

    operations = [
        # What a migration that broke off left is no index yet.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS usage_hour_hosted", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            "usagehour",
            models.Index(fields=["hour"], name="usage_hour_hosted", condition=~models.Q(hosted="")),
        ),
    ]
