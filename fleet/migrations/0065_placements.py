import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0061_roles_of_pods")]

    operations = [
        migrations.CreateModel(
            name="Placement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField()),
                (
                    "member",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="placement",
                        to="fleet.service",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="placements",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "placement",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("service", "position"), name="placement_position"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("service", models.F("member")), _negated=True),
                        name="placement_of_another",
                    ),
                ],
            },
        ),
    ]
