"""What sources of some tenants say of a service is kept apart from what the fleet's gateways say."""

from django.db import migrations, models

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("billing", "0126_months_that_cut_parts")]

    operations = [
        migrations.CreateModel(
            name="LimitedHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("service_id", models.BigIntegerField()),
                ("tenant_id", models.BigIntegerField()),
                ("tokens", models.BigIntegerField()),
            ],
            options={
                "db_table": "usage_limited_hour",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "service_id", "tenant_id"), name="usage_limited_hour_key"
                    )
                ],
            },
        ),
        EnableRLS("usage_limited_hour"),
    ]
