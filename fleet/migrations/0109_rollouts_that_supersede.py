import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0108_closed_rollouts")]

    operations = [
        migrations.AddField(
            "rollout",
            "supersedes",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="superseded_by",
                to="fleet.rollout",
            ),
        ),
        migrations.AddField("rollout", "waits", models.BooleanField(db_default=False)),
    ]
