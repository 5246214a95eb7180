import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0036_evidence_of_gates"),
    ]

    operations = [
        migrations.CreateModel(
            name="Drift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("path", models.CharField(max_length=300)),
                ("declared", models.JSONField(null=True)),
                ("live", models.JSONField(null=True)),
                ("manager", models.CharField(blank=True, max_length=128)),
                ("operation", models.CharField(blank=True, max_length=32)),
                ("written_at", models.DateTimeField(null=True)),
                ("owned", models.BooleanField(default=False)),
                ("found_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "wish",
                    models.CharField(
                        blank=True, choices=[("repair", "Repair"), ("adopt", "Adopt")], max_length=8
                    ),
                ),
                ("wish_by", models.CharField(blank=True, max_length=254)),
                ("wish_why", models.TextField(blank=True)),
                ("trouble", models.TextField(blank=True)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="drifts",
                        to="fleet.deployment",
                    ),
                ),
            ],
            options={
                "db_table": "drift",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("deployment", "path"),
                        name="drift_one_open",
                    )
                ],
            },
        ),
    ]
