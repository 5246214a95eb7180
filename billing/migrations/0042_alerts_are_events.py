"""The message of an alert is that of its event."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0041_fill_finance_events")]

    operations = [
        migrations.AlterField(
            "EventDelivery",
            "event",
            models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="billing.financeevent",
            ),
        ),
        migrations.AlterField(
            "BudgetAlert",
            "event",
            models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="alert",
                to="billing.financeevent",
            ),
        ),
        migrations.RemoveField("EventDelivery", "alert"),
        migrations.RemoveField("BudgetAlert", "payload"),
    ]
