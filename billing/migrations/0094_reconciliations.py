"""What checks of the books found is kept."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0093_copies_are_known"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reconciliation",
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
                ("requested_by", models.CharField(max_length=254)),
                ("requested_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("done", "Done")],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                ("since", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("seconds", models.FloatField(default=0)),
                ("wrong", models.IntegerField(default=0)),
                ("sums", models.JSONField(default=list)),
            ],
            options={
                "db_table": "reconciliation",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "waiting")),
                        fields=("state",),
                        name="reconciliation_one_waits",
                    )
                ],
            },
        ),
    ]
