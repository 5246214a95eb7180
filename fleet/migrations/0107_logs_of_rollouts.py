import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0106_pods_of_rollouts")]

    operations = [
        migrations.CreateModel(
            name="RolloutLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("pod_uid", models.CharField(max_length=36)),
                ("pod", models.CharField(max_length=253)),
                ("release", models.CharField(max_length=20)),
                ("previous", models.BooleanField()),
                ("restarts", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("text", models.TextField(blank=True)),
                ("trouble", models.TextField(blank=True)),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="logs",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_log",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rollout", "pod_uid", "previous"), name="rollout_log_once"
                    )
                ],
            },
        ),
    ]
