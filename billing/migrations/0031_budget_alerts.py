"""Alerts of budgets: who is told, what was reached, and each delivery of it."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from tenants.base.rls import AppendOnly, EnableRLS


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0030_credits"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("tenant_id", models.BigIntegerField(unique=True)),
                (
                    "thresholds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(), size=None
                    ),
                ),
                (
                    "mails",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=254), default=list, size=None
                    ),
                ),
            ],
            options={
                "db_table": "alert_settings",
            },
        ),
        migrations.CreateModel(
            name="AlertWebhook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("url", models.CharField(max_length=2000)),
                ("secret", models.BinaryField()),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=254)),
                ("removed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "alert_webhook",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("removed_at", None)),
                        fields=("tenant_id", "url"),
                        name="alert_webhook_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BudgetAlert",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("series", models.BigIntegerField()),
                ("period", models.CharField(max_length=7)),
                ("threshold", models.PositiveSmallIntegerField()),
                ("budget", models.DecimalField(decimal_places=12, max_digits=38)),
                ("spent", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("payload", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "budget_alert",
                "indexes": [models.Index(fields=["tenant_id", "-id"], name="budget_alert_tenant")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("series", "period", "threshold"), name="budget_alert_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertDelivery",
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
                ("tenant_id", models.BigIntegerField()),
                ("mail", models.CharField(blank=True, max_length=254)),
                ("state", models.CharField(default="waiting", max_length=7)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("answered", models.PositiveSmallIntegerField(null=True)),
                ("why", models.TextField(blank=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "webhook",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.alertwebhook",
                    ),
                ),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="billing.budgetalert",
                    ),
                ),
            ],
            options={
                "db_table": "alert_delivery",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("webhook", None), ("mail", ""), _connector="XOR"),
                        name="alert_delivery_one_way",
                    )
                ],
            },
        ),
        *(
            EnableRLS(table)
            for table in ("alert_settings", "alert_webhook", "budget_alert", "alert_delivery")
        ),
        AppendOnly("budget_alert"),
    ]
