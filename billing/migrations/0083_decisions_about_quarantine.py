"""Decisions about events in quarantine, asked by one person and approved by another."""

import django.db.models.deletion
from django.db import migrations, models

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("billing", "0082_estimated_usage")]

    operations = [
        migrations.CreateModel(
            name="QuarantineDecision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=7)),
                ("why", models.TextField()),
                ("events", models.IntegerField()),
                ("digest", models.CharField(max_length=64)),
                ("state", models.CharField(default="waiting", max_length=7)),
                ("asked_by", models.CharField(max_length=254)),
                ("asked_at", models.DateTimeField()),
                ("change_id", models.BigIntegerField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=254)),
                ("decided_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "quarantine_decision",
            },
        ),
        migrations.CreateModel(
            name="QuarantineItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField(null=True)),
                ("quarantine_id", models.BigIntegerField()),
                ("source_id", models.BigIntegerField()),
                ("event_id", models.CharField(max_length=128)),
                ("reason", models.CharField(max_length=32)),
                ("detail", models.TextField()),
                ("payload", models.TextField()),
                ("payload_sha", models.BinaryField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("worker", models.CharField(blank=True, max_length=128)),
                ("received_at", models.DateTimeField()),
                ("corrected", models.TextField(blank=True)),
                ("corrected_sha", models.BinaryField(null=True)),
                ("outcome", models.CharField(blank=True, max_length=7)),
                ("said", models.TextField(blank=True)),
            ],
            options={
                "db_table": "quarantine_item",
            },
        ),
        migrations.AddField(
            model_name="usagequarantine",
            name="decision_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="quarantinedecision",
            index=models.Index(fields=["state", "-id"], name="quarantine_decision_state"),
        ),
        migrations.AddField(
            model_name="quarantineitem",
            name="decision",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="items",
                to="billing.quarantinedecision",
            ),
        ),
        migrations.AddIndex(
            model_name="quarantineitem",
            index=models.Index(fields=["ended_at"], name="quarantine_item_ended"),
        ),
        EnableRLS("quarantine_item"),
    ]
