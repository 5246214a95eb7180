from django.db import migrations, models

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("billing", "0032_spend_anomalies")]

    operations = [
        migrations.CreateModel(
            name="ExchangeRate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("base", models.CharField(max_length=3)),
                ("quote", models.CharField(max_length=3)),
                ("on", models.DateField(db_column="on_date")),
                ("source", models.CharField(max_length=64)),
                ("rate", models.DecimalField(decimal_places=12, max_digits=24)),
                ("recorded_at", models.DateTimeField()),
                ("recorded_by", models.CharField(max_length=254)),
            ],
            options={
                "db_table": "exchange_rate",
                "indexes": [
                    models.Index(
                        fields=["base", "quote", "source", "-on", "-id"],
                        name="exchange_rate_lookup",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("rate__gt", 0)), name="exchange_rate_above_zero"
                    )
                ],
            },
        ),
        AppendOnly("exchange_rate"),
    ]
