"""Prices, charges and what has no price say on what it runs: a GPU product, or a hosted provider."""

from django.db import migrations, models

PLACE = {"blank": True, "db_default": "", "default": "", "max_length": 120}


class Migration(migrations.Migration):
    dependencies = [("billing", "0085_gpus_of_usage")]

    operations = [
        migrations.AddField("price", "runs_on", models.CharField(**PLACE)),
        migrations.AddField("charge", "runs_on", models.CharField(**PLACE)),
        migrations.AddField("unpricedusage", "runs_on", models.CharField(**PLACE)),
        migrations.AddConstraint(
            "price",
            models.UniqueConstraint(
                fields=("book_version", "model", "meter", "traffic_class", "runs_on"),
                condition=models.Q(("kind", "factor"), _negated=True),
                name="price_of_place_once",
            ),
        ),
        migrations.RemoveConstraint("price", "price_once"),
    ]
