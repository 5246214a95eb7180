import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0098_when_traffic_left_a_release")]

    operations = [
        migrations.CreateModel(
            name="RolloutCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=20)),
                ("since", models.DateTimeField()),
                ("called_at", models.DateTimeField(null=True)),
                ("times", models.PositiveIntegerField(default=0)),
                ("acknowledged_by", models.CharField(blank=True, max_length=254)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="calls",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_call",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("rollout", "kind"),
                        name="rollout_call_one_open",
                    )
                ],
            },
        ),
    ]
