import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0037_drift_of_deployments"),
    ]

    operations = [
        migrations.CreateModel(
            name="Freeze",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=120)),
                ("reason", models.TextField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                (
                    "weekdays",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("from_time", models.TimeField(null=True)),
                ("minutes", models.PositiveIntegerField(default=0)),
                ("zone", models.CharField(default="UTC", max_length=64)),
                ("created_by", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("closed_by", models.CharField(blank=True, max_length=254)),
                ("closed_why", models.TextField(blank=True)),
                (
                    "cluster",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="freezes",
                        to="fleet.cluster",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="freezes",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "freeze",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("cluster", None), ("service", None), _connector="OR"),
                        name="freeze_one_scope",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("weekdays", []), ("from_time__isnull", False), _connector="OR"
                        ),
                        name="freeze_weekly_has_time",
                    ),
                ],
            },
        ),
    ]
