from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0052_drift_of_nodes"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="kueue",
            field=models.JSONField(null=True),
        ),
    ]
