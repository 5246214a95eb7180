from django.db import migrations, models

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0052_lines_of_price_previews"),
    ]

    operations = [
        migrations.CreateModel(
            name="OtherCost",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("kind", models.CharField(max_length=8)),
                ("name", models.CharField(max_length=200)),
                ("model", models.CharField(blank=True, max_length=128)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("key", models.CharField(max_length=64, unique=True)),
                ("recorded_at", models.DateTimeField()),
                ("recorded_by", models.CharField(max_length=254)),
            ],
            options={
                "db_table": "other_cost",
                "indexes": [models.Index(fields=["starts_at", "ends_at"], name="other_cost_time")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="other_cost_takes_time",
                    )
                ],
            },
        ),
        AppendOnly("other_cost"),
    ]
