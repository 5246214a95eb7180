"""Receivers of budget alerts become receivers of every event of finance."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from tenants.base.rls import AppendOnly, EnableRLS

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    dependencies = [("billing", "0037_credits_given_back")]

    operations = [
        migrations.CreateModel(
            name="FinanceEvent",
            fields=[
                ("id", ID),
                ("tenant_id", models.BigIntegerField(null=True)),
                ("kind", models.CharField(max_length=32)),
                ("subject", models.CharField(max_length=200)),
                ("payload", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "finance_event",
                "indexes": [models.Index(fields=["tenant_id", "-id"], name="finance_event_tenant")],
            },
        ),
        EnableRLS("finance_event"),
        AppendOnly("finance_event"),
        migrations.RemoveConstraint("AlertWebhook", "alert_webhook_once"),
        migrations.RenameModel("AlertWebhook", "Webhook"),
        migrations.AlterModelTable("Webhook", "webhook"),
        migrations.AlterField("Webhook", "tenant_id", models.BigIntegerField(null=True)),
        migrations.AddField("Webhook", "version", models.PositiveIntegerField(default=1)),
        migrations.AlterField("Webhook", "created_at", models.DateTimeField(auto_now_add=True)),
        migrations.AddField("Webhook", "changed_at", models.DateTimeField(auto_now=True)),
        migrations.AddField(
            "Webhook",
            "kinds",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=32), default=list, size=None
            ),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            "Webhook",
            models.UniqueConstraint(
                condition=models.Q(("removed_at", None)),
                fields=("tenant_id", "url"),
                name="webhook_once",
                nulls_distinct=False,
            ),
        ),
        migrations.RemoveConstraint("AlertDelivery", "alert_delivery_one_way"),
        migrations.RenameModel("AlertDelivery", "EventDelivery"),
        migrations.AlterModelTable("EventDelivery", "event_delivery"),
        migrations.AlterField("EventDelivery", "tenant_id", models.BigIntegerField(null=True)),
        migrations.AddField(
            "EventDelivery",
            "event",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="billing.financeevent",
            ),
        ),
        migrations.AddConstraint(
            "EventDelivery",
            models.CheckConstraint(
                condition=models.Q(("webhook", None), ("mail", ""), _connector="XOR"),
                name="event_delivery_one_way",
            ),
        ),
        migrations.AddField(
            "BudgetAlert",
            "event",
            models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="alert",
                to="billing.financeevent",
            ),
        ),
    ]
