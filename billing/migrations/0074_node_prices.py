"""Prices of GPUs by the nodes they are in and how those are paid, where they were by product."""

from django.db import migrations, models


def text(length):
    return models.CharField(blank=True, db_default="", default="", max_length=length)


class Migration(migrations.Migration):
    dependencies = [("billing", "0073_releases_of_charges")]

    operations = [
        migrations.AddField(
            "gpuprice",
            "kind",
            models.CharField(db_default="on_demand", default="on_demand", max_length=12),
        ),
        migrations.AddField("gpuprice", "cluster", text(63)),
        migrations.AddField("gpuprice", "node_pool", text(63)),
        migrations.AddField("gpuprice", "capacity", text(12)),
        migrations.AddField("gpuprice", "terms", models.JSONField(db_default={}, default=dict)),
        migrations.AddField("gpuprice", "parts", models.JSONField(db_default={}, default=dict)),
        migrations.AddConstraint(
            "gpuprice",
            models.UniqueConstraint(
                fields=("sheet", "product", "cluster", "node_pool", "capacity"),
                name="gpu_price_of_nodes_once",
            ),
        ),
        migrations.RemoveConstraint("gpuprice", "gpu_price_once"),
    ]
