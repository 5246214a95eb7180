from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0056_sleep_of_services"),
    ]

    operations = [
        migrations.RemoveConstraint("scalingpolicy", "scaling_policy_bounds"),
        migrations.AddConstraint(
            "scalingpolicy",
            models.CheckConstraint(
                condition=models.Q(
                    ("max_replicas__gte", models.F("min_replicas")),
                    ("target__gte", 1),
                    ("max_replicas__gte", 1),
                ),
                name="scaling_policy_bounds",
            ),
        ),
    ]
