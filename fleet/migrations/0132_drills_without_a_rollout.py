import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0131_calls_of_sequences"),
    ]

    operations = [
        migrations.AlterField(
            model_name="drill",
            name="moment",
            field=models.CharField(
                choices=[
                    ("canary", "canary"),
                    ("step", "step"),
                    ("promoting", "promoting"),
                    ("soaking", "soaking"),
                    ("pod_lost", "pod_lost"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="drill",
            name="rollout",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="drill",
                to="fleet.rollout",
            ),
        ),
    ]
