"""Cost pools know on which nodes their GPUs were and which line priced them."""

import django.db.models.deletion
from django.db import migrations, models


def text(length):
    return models.CharField(db_default="", default="", max_length=length)


class Migration(migrations.Migration):
    dependencies = [("billing", "0075_drafts_of_node_prices")]

    operations = [
        migrations.AddField("costpool", "node_pool", text(63)),
        migrations.AddField("costpool", "capacity", text(12)),
        migrations.AddField("costpool", "profile", text(32)),
        migrations.AddField(
            "costpool",
            "price",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="billing.gpuprice",
            ),
        ),
    ]
