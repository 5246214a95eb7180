from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0071_pins_of_releases")]

    operations = [
        migrations.CreateModel(
            name="AdapterUse",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("service_id", models.BigIntegerField()),
                ("adapter", models.CharField(max_length=128)),
                ("tenant_id", models.BigIntegerField()),
                ("requests", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "adapter_use",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("service_id", "day", "adapter", "tenant_id"),
                        name="adapter_use_once",
                    )
                ],
            },
        ),
    ]
