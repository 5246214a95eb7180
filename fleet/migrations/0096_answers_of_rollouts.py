from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0093_providers_of_clusters")]

    operations = [
        migrations.CreateModel(
            name="RolloutAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("release_id", models.BigIntegerField()),
                ("leaving", models.BooleanField()),
                ("outcome", models.CharField(max_length=10)),
                ("reason", models.CharField(blank=True, max_length=24)),
                ("cut", models.BooleanField()),
                ("requests", models.BigIntegerField()),
                ("last_began", models.DateTimeField()),
                ("last_ended", models.DateTimeField()),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="answers", to="fleet.rollout"
                    ),
                ),
            ],
            options={
                "db_table": "rollout_answer",
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "rollout",
                            "tenant_id",
                            "release_id",
                            "leaving",
                            "outcome",
                            "reason",
                            "cut",
                        ),
                        name="rollout_answer_once",
                    )
                ],
            },
        ),
    ]
