from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is made beside writers, and that outside of a transaction

    dependencies = [
        ("billing", "0006_fill_totals"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="allocation",
            index=models.Index(fields=["hour", "id"], name="allocation_time"),
        ),
    ]
