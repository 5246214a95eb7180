import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0103_prefetch_of_services")]

    operations = [
        migrations.CreateModel(
            name="RolloutPod",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uid", models.CharField(max_length=36)),
                ("release", models.CharField(max_length=20)),
                ("name", models.CharField(max_length=253)),
                ("role", models.CharField(max_length=16)),
                ("node", models.CharField(blank=True, max_length=253)),
                ("created_at", models.DateTimeField()),
                ("start_seconds", models.FloatField(null=True)),
                ("restarts", models.PositiveIntegerField()),
                ("trouble", models.TextField(blank=True)),
                ("answered", models.CharField(blank=True, max_length=40)),
                ("answered_at", models.DateTimeField(null=True)),
                ("gone_at", models.DateTimeField(null=True)),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pods",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_pod",
                "constraints": [
                    models.UniqueConstraint(fields=("rollout", "uid"), name="rollout_pod_once")
                ],
            },
        ),
    ]
