from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0032_reasons_of_outcomes")]

    operations = [
        migrations.AlterField(
            model_name="rollout",
            name="plan_kind",
            field=models.CharField(
                choices=[
                    ("surge_canary", "surge_canary"),
                    ("blue_green", "blue_green"),
                    ("replace", "replace"),
                    ("recreate", "recreate"),
                ],
                max_length=16,
            ),
        ),
    ]
