"""Prefixes that a store keeps for tenants have reports of their own, stored once each."""

import django.db.models.functions.datetime
from django.db import migrations, models

from tenants.base.rls import AppendOnly, EnableRLS


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0127_what_sources_of_some_tenants_say"),
    ]

    operations = [
        migrations.CreateModel(
            name="PrefixHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("hour", models.DateTimeField()),
                ("application_id", models.BigIntegerField()),
                ("model", models.CharField(max_length=128)),
                ("gib_hours", models.DecimalField(decimal_places=6, max_digits=38)),
                ("reports", models.BigIntegerField()),
            ],
            options={
                "db_table": "prefix_hour",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "hour", "application_id", "model"),
                        name="prefix_hour_key",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PrefixReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source_id", models.BigIntegerField()),
                ("report_id", models.UUIDField()),
                ("tenant_id", models.BigIntegerField()),
                ("application_id", models.BigIntegerField()),
                ("model", models.CharField(max_length=128)),
                ("gib_hours", models.DecimalField(decimal_places=6, max_digits=38)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                ("payload_sha", models.BinaryField()),
                (
                    "stored_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "prefix_report",
                "indexes": [
                    models.Index(fields=["tenant_id", "started_at"], name="prefix_report_tenant"),
                    models.Index(fields=["-started_at", "-id"], name="prefix_report_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("source_id", "report_id"), name="prefix_report_once"
                    )
                ],
            },
        ),
        EnableRLS("prefix_report"),
        EnableRLS("prefix_hour"),
        AppendOnly("prefix_report"),
    ]
