"""Schedules know their rhythm, and until when they have made what was due."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("billing", "0095_results_stay")]

    operations = [
        migrations.AddField(
            "exportschedule",
            "rhythm",
            models.CharField(
                choices=[("daily", "daily"), ("weekly", "weekly"), ("monthly", "monthly")],
                db_default="daily",
                default="daily",
                max_length=8,
            ),
        ),
        migrations.AddField(
            "exportschedule", "day", models.PositiveSmallIntegerField(db_default=1, default=1)
        ),
        migrations.AddField("exportschedule", "made_until", models.DateTimeField(db_default=Now())),
    ]
