from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0053_queues_of_kueue"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="applied_version",
            field=models.PositiveIntegerField(null=True),
        ),
    ]
