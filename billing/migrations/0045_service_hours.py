from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0044_price_previews"),
    ]

    operations = [
        migrations.CreateModel(
            name="EngineHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("service_id", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
                ("engines", models.IntegerField()),
            ],
            options={
                "db_table": "engine_hour",
                "constraints": [
                    models.UniqueConstraint(fields=("hour", "service_id"), name="engine_hour_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="ServiceHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("service_id", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
            ],
            options={
                "db_table": "usage_service_hour",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "service_id"), name="usage_service_hour_key"
                    )
                ],
            },
        ),
    ]
