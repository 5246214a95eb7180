import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Versions of the prompts that releases of a service must answer as recorded."""

    dependencies = [
        ("fleet", "0042_resolutions_of_releases"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OutputContract",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("prompts", models.JSONField()),
                ("why", models.TextField()),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "kept_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="contracts",
                        to="fleet.service",
                    ),
                ),
            ],
            options={"db_table": "output_contract"},
        ),
        migrations.AddConstraint(
            model_name="outputcontract",
            constraint=models.UniqueConstraint(
                fields=("service", "version"), name="output_contract_version"
            ),
        ),
    ]
