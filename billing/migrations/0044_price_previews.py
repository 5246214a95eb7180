import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0042_alerts_are_events"),
    ]

    operations = [
        migrations.CreateModel(
            name="PricePreview",
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
                ("digest", models.CharField(max_length=64)),
                ("month", models.CharField(max_length=7)),
                ("tenants", models.PositiveIntegerField()),
                ("tenants_done", models.PositiveIntegerField(default=0)),
                ("reached", models.BigIntegerField(default=0)),
                ("lines", models.JSONField(default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("done", "Done")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("requested_by", models.CharField(max_length=254)),
                (
                    "requested_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="previews",
                        to="billing.pricebookversion",
                    ),
                ),
            ],
            options={
                "db_table": "price_preview",
            },
        ),
    ]
