import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0046_scaling_policies"),
    ]

    operations = [
        migrations.CreateModel(
            name="ScalingDecision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("running", models.FloatField()),
                ("waiting", models.FloatField()),
                ("queued", models.FloatField(null=True)),
                ("demand", models.FloatField(null=True)),
                ("forecast", models.FloatField(null=True)),
                ("target", models.PositiveIntegerField()),
                ("serving", models.PositiveIntegerField()),
                ("declared", models.PositiveIntegerField()),
                ("wanted", models.PositiveIntegerField()),
                ("given", models.PositiveIntegerField()),
                ("changed", models.BooleanField()),
                ("why", models.TextField()),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="scalings",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "scaling_decision",
                "indexes": [
                    models.Index(fields=["service", "-at"], name="scaling_decision_service"),
                    models.Index(
                        condition=models.Q(("changed", True)),
                        fields=["service", "-at"],
                        name="scaling_decision_changed",
                    ),
                ],
            },
        ),
    ]
