from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0054_versions_that_observers_applied"),
    ]

    operations = [
        migrations.AddField(
            "scalingpolicy", "idle_seconds", models.PositiveIntegerField(default=900)
        ),
        migrations.AddField(
            "scalingpolicy", "wait_seconds", models.PositiveIntegerField(default=300)
        ),
        migrations.AddField(
            "scalingpolicy", "max_waiting", models.PositiveIntegerField(default=64)
        ),
        migrations.AddField("scalingpolicy", "called_at", models.DateTimeField(null=True)),
        migrations.AddField("scalingpolicy", "slept_at", models.DateTimeField(null=True)),
        migrations.AddField("scalingpolicy", "woken_at", models.DateTimeField(null=True)),
    ]
