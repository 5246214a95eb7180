import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0111_steps_that_ask"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Drill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "moment",
                    models.CharField(
                        choices=[
                            ("canary", "canary"),
                            ("step", "step"),
                            ("promoting", "promoting"),
                            ("soaking", "soaking"),
                        ],
                        max_length=12,
                    ),
                ),
                ("step", models.PositiveSmallIntegerField(default=0)),
                ("limits", models.JSONField()),
                ("promise", models.JSONField()),
                ("reason", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "rollout",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="drill",
                        to="fleet.rollout",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="drills",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "drill",
            },
        ),
        migrations.CreateModel(
            name="DrillReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("passed", "passed"),
                            ("failed", "failed"),
                            ("not_run", "not_run"),
                        ],
                        max_length=8,
                    ),
                ),
                ("why", models.TextField()),
                ("report", models.JSONField()),
                ("digest", models.CharField(max_length=64)),
                (
                    "drill",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="report",
                        to="fleet.drill",
                    ),
                ),
            ],
            options={
                "db_table": "drill_report",
            },
        ),
        migrations.AddIndex(
            model_name="drill",
            index=models.Index(fields=["service", "-id"], name="drill_service"),
        ),
        migrations.AddIndex(
            model_name="drillreport",
            index=models.Index(fields=["-at"], name="drill_report_at"),
        ),
    ]
