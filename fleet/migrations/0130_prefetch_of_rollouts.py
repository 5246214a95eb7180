import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0125_releases_that_adopt_drift"),
    ]

    operations = [
        migrations.CreateModel(
            name="RolloutFetch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("node", models.CharField(max_length=253)),
                ("pod", models.CharField(blank=True, max_length=253)),
                ("state", models.CharField(max_length=12)),
                ("trouble", models.TextField(blank=True)),
                ("made_at", models.DateTimeField(null=True)),
                ("state_at", models.DateTimeField()),
                ("gone_at", models.DateTimeField(null=True)),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fetches",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_fetch",
                "constraints": [
                    models.UniqueConstraint(fields=("rollout", "node"), name="rollout_fetch_once")
                ],
            },
        ),
    ]
