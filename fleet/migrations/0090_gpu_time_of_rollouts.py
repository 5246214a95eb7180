import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0088_gpu_intervals")]

    operations = [
        migrations.CreateModel(
            name="RolloutGpuTime",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("gpu_product", models.CharField(max_length=120)),
                ("gpu_ms", models.BigIntegerField()),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="gpu_times",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_gpu_time",
                "indexes": [models.Index(fields=["hour"], name="rollout_gpu_time_hour")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rollout", "hour", "gpu_product"), name="rollout_gpu_time_once"
                    )
                ],
            },
        ),
    ]
