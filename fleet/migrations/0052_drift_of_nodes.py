import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0049_shadow_slots_row_level_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="NodeDrift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("node", models.CharField(max_length=253)),
                ("kind", models.CharField(max_length=8)),
                ("name", models.CharField(max_length=330)),
                ("expected", models.JSONField(null=True)),
                ("live", models.JSONField(null=True)),
                ("manager", models.CharField(blank=True, max_length=128)),
                ("operation", models.CharField(blank=True, max_length=32)),
                ("written_at", models.DateTimeField(null=True)),
                ("found_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("accepted_by", models.CharField(blank=True, max_length=254)),
                ("accepted_why", models.TextField(blank=True)),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="node_drifts",
                        to="fleet.cluster",
                    ),
                ),
            ],
            options={
                "db_table": "node_drift",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("cluster", "node", "kind", "name"),
                        name="node_drift_one_open",
                    )
                ],
            },
        ),
    ]
