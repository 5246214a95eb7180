import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0045_contracts_are_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="ScalingPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("look_again", models.DateTimeField(db_index=True, null=True)),
                ("claim", models.UUIDField(editable=False, null=True)),
                ("claim_until", models.DateTimeField(editable=False, null=True)),
                ("fence", models.BigIntegerField(default=0, editable=False)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("failure", models.TextField(blank=True)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("min_replicas", models.PositiveIntegerField()),
                ("max_replicas", models.PositiveIntegerField()),
                ("target", models.PositiveIntegerField()),
                ("stable_seconds", models.PositiveIntegerField(default=300)),
                ("pause_seconds", models.PositiveIntegerField(default=60)),
                ("hours", models.JSONField(default=list)),
                ("zone", models.CharField(default="UTC", max_length=64)),
                (
                    "service",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="scaling",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "scaling_policy",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_replicas__gte", models.F("min_replicas")),
                            ("min_replicas__gte", 1),
                            ("target__gte", 1),
                        ),
                        name="scaling_policy_bounds",
                    )
                ],
            },
        ),
    ]
