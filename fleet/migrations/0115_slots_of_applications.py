from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0114_drills_are_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApplicationLatencySlot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seconds", models.PositiveSmallIntegerField()),
                ("slot", models.DateTimeField()),
                ("tenant_id", models.BigIntegerField()),
                ("service_id", models.BigIntegerField()),
                ("release_id", models.BigIntegerField(default=0)),
                ("traffic_class", models.CharField(max_length=12)),
                ("metric", models.CharField(max_length=8)),
                ("bucket", models.SmallIntegerField()),
                ("samples", models.BigIntegerField(default=0)),
                ("application_id", models.BigIntegerField()),
                ("adapter", models.CharField(blank=True, max_length=128)),
                ("is_copy", models.BooleanField()),
            ],
            options={
                "db_table": "application_latency_slot",
                "indexes": [
                    models.Index(
                        fields=["service_id", "seconds", "slot"], name="application_latency_service"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "seconds",
                            "slot",
                            "tenant_id",
                            "service_id",
                            "release_id",
                            "traffic_class",
                            "application_id",
                            "adapter",
                            "is_copy",
                            "metric",
                            "bucket",
                        ),
                        name="application_latency_slot_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ApplicationSlot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seconds", models.PositiveSmallIntegerField()),
                ("slot", models.DateTimeField()),
                ("tenant_id", models.BigIntegerField()),
                ("service_id", models.BigIntegerField()),
                ("release_id", models.BigIntegerField(default=0)),
                ("traffic_class", models.CharField(max_length=12)),
                ("outcome", models.CharField(max_length=10)),
                ("reason", models.CharField(blank=True, max_length=24)),
                ("requests", models.BigIntegerField(default=0)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("application_id", models.BigIntegerField()),
                ("adapter", models.CharField(blank=True, max_length=128)),
                ("is_copy", models.BooleanField()),
            ],
            options={
                "db_table": "application_slot",
                "indexes": [
                    models.Index(
                        fields=["service_id", "seconds", "slot"], name="application_slot_service"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "seconds",
                            "slot",
                            "tenant_id",
                            "service_id",
                            "release_id",
                            "traffic_class",
                            "application_id",
                            "adapter",
                            "is_copy",
                            "outcome",
                            "reason",
                        ),
                        name="application_slot_once",
                    )
                ],
            },
        ),
    ]
