"""Hours know how much of their GPU time was spent before they began; those of before say nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0128_kept_prefixes")]

    operations = [
        migrations.AddField(
            "usagehour", "before_ms", models.BigIntegerField(default=0, db_default=0)
        ),
    ]
