from django.db import migrations, models

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("billing", "0071_releases_of_costs")]

    operations = [
        migrations.CreateModel(
            name="CostMethod",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("method", models.CharField(max_length=32)),
                ("starts_at", models.DateTimeField()),
                ("why", models.TextField()),
                ("chosen_at", models.DateTimeField()),
                ("chosen_by", models.CharField(max_length=254)),
            ],
            options={
                "db_table": "cost_method",
                "indexes": [models.Index(fields=["starts_at", "id"], name="cost_method_time")],
            },
        ),
        migrations.CreateModel(
            name="WorkWeight",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("release", models.CharField(max_length=32)),
                ("number", models.PositiveIntegerField()),
                ("starts_at", models.DateTimeField()),
                ("prefill_ns", models.BigIntegerField()),
                ("decode_ns", models.BigIntegerField()),
                ("fit", models.DecimalField(decimal_places=4, max_digits=7)),
                ("samples", models.IntegerField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("samples_sha", models.CharField(max_length=64)),
                ("usable", models.BooleanField()),
                ("why", models.TextField(blank=True)),
                ("made_at", models.DateTimeField()),
            ],
            options={
                "db_table": "work_weight",
                "indexes": [models.Index(fields=["starts_at"], name="work_weight_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("release", "number"), name="work_weight_number"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("decode_ns__gte", 0), ("prefill_ns__gte", 0)),
                        name="work_weight_not_negative",
                    ),
                ],
            },
        ),
        AppendOnly("cost_method"),
        AppendOnly("work_weight"),
    ]
