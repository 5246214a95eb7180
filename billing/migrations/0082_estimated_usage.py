"""Estimated usage is found without reading the rest; built beside running writers."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0081_arrivals_of_usage")]

    operations = [
        AddIndexConcurrently(
            model_name="usageevent",
            index=models.Index(
                condition=models.Q(("usage_quality", "estimated")),
                fields=["event_time"],
                name="usage_event_estimated",
            ),
        ),
    ]
