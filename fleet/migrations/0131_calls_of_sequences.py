import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0130_prefetch_of_rollouts"),
    ]

    operations = [
        migrations.CreateModel(
            name="SequenceCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=20)),
                ("called_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "sequence",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="calls",
                        to="fleet.rolloutsequence",
                    ),
                ),
            ],
            options={
                "db_table": "sequence_call",
                "constraints": [
                    models.UniqueConstraint(fields=("sequence", "kind"), name="sequence_call_once")
                ],
            },
        ),
    ]
