from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0099_calls_of_rollouts")]

    operations = [
        migrations.AddField(
            model_name="service",
            name="prefetch_seconds",
            field=models.PositiveIntegerField(db_default=900, default=900),
        ),
    ]
