"""What gateways said that they wrote, and what arrived of it, by hour."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0080_named_sign_offs")]

    operations = [
        migrations.CreateModel(
            name="Arrival",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source_id", models.BigIntegerField()),
                ("hour", models.DateTimeField()),
                ("worker", models.CharField(max_length=128)),
                ("events", models.BigIntegerField()),
                ("least_ms", models.BigIntegerField()),
                ("most_ms", models.BigIntegerField()),
                ("arrived_at", models.DateTimeField()),
            ],
            options={
                "db_table": "usage_arrival",
            },
        ),
        migrations.CreateModel(
            name="GatewayHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("worker", models.CharField(max_length=128)),
                ("started", models.FloatField()),
                ("events", models.BigIntegerField()),
                ("spool_events", models.BigIntegerField()),
                ("spool_oldest_seconds", models.FloatField()),
            ],
            options={
                "db_table": "gateway_hour",
            },
        ),
        migrations.CreateModel(
            name="SourceHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source_id", models.BigIntegerField()),
                ("hour", models.DateTimeField()),
                ("worker", models.CharField(max_length=128)),
                ("events", models.BigIntegerField()),
                ("least_ms", models.BigIntegerField()),
                ("most_ms", models.BigIntegerField()),
                ("arrived_at", models.DateTimeField()),
            ],
            options={
                "db_table": "usage_source_hour",
            },
        ),
        migrations.AddConstraint(
            model_name="gatewayhour",
            constraint=models.UniqueConstraint(
                fields=("hour", "worker", "started"), name="gateway_hour_key"
            ),
        ),
        migrations.AddIndex(
            model_name="sourcehour",
            index=models.Index(fields=["arrived_at"], name="usage_source_hour_arrived"),
        ),
        migrations.AddConstraint(
            model_name="sourcehour",
            constraint=models.UniqueConstraint(
                fields=("hour", "source_id", "worker"), name="usage_source_hour_key"
            ),
        ),
        migrations.AddField(
            model_name="usagequarantine",
            name="ended_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="usagequarantine",
            name="worker",
            field=models.CharField(blank=True, db_default="", max_length=128),
        ),
    ]
