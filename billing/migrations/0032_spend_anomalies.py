"""Days out of the ordinary, as the worker finds them."""

from django.db import migrations, models

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("billing", "0031_budget_alerts")]

    operations = [
        migrations.CreateModel(
            name="SpendAnomaly",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=128)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("usual", models.DecimalField(decimal_places=12, max_digits=38)),
                ("low", models.DecimalField(decimal_places=12, max_digits=38)),
                ("high", models.DecimalField(decimal_places=12, max_digits=38)),
                ("found_at", models.DateTimeField()),
            ],
            options={
                "db_table": "spend_anomaly",
                "indexes": [models.Index(fields=["-day", "-id"], name="spend_anomaly_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "day", "model", "currency"),
                        name="spend_anomaly_once",
                    )
                ],
            },
        ),
        EnableRLS("spend_anomaly"),
    ]
