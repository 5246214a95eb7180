from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0047_scaling_decisions"),
    ]

    operations = [
        migrations.CreateModel(
            name="ShadowLatencySlot",
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
            ],
            options={
                "db_table": "shadow_latency_slot",
                "indexes": [
                    models.Index(
                        fields=["service_id", "seconds", "slot"], name="shadow_latency_service"
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
                            "metric",
                            "bucket",
                        ),
                        name="shadow_latency_slot_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ShadowSlot",
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
            ],
            options={
                "db_table": "shadow_slot",
                "indexes": [
                    models.Index(
                        fields=["service_id", "seconds", "slot"], name="shadow_slot_service"
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
                            "outcome",
                            "reason",
                        ),
                        name="shadow_slot_once",
                    )
                ],
            },
        ),
    ]
