"""Slots of traffic are added to by every batch of their time: a page of theirs keeps room for it.

An update then stays on its page and no index hears of it.
"""

from django.db import migrations

TABLES = (
    "traffic_slot",
    "latency_slot",
    "shadow_slot",
    "shadow_latency_slot",
    "adapter_slot",
    "adapter_latency_slot",
    "application_slot",
    "application_latency_slot",
)


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0133_losses_of_pods"),
    ]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} SET (fillfactor = 50)",
            f"ALTER TABLE {table} RESET (fillfactor)",
        )
        for table in TABLES
    ]
