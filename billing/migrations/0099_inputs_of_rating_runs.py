"""Runs of rating keep what they were made from; those of before have the digest of it alone."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0098_cost_files_of_exports")]

    operations = [
        migrations.AddField("ratingrun", "first_hour", models.DateTimeField(null=True)),
        migrations.AddField("ratingrun", "last_hour", models.DateTimeField(null=True)),
        migrations.AddField("ratingrun", "cut_off", models.DateTimeField(null=True)),
        migrations.AddField(
            "ratingrun", "book_versions", ArrayField(models.BigIntegerField(), null=True)
        ),
    ]
