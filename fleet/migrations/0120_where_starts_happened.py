from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0117_limits_of_sequences")]

    operations = [
        migrations.AddField(
            model_name="startsample",
            name="node",
            field=models.CharField(blank=True, db_default="", max_length=253),
        ),
        migrations.AddField(
            model_name="startsample",
            name="node_pool",
            field=models.CharField(blank=True, db_default="", max_length=63),
        ),
        migrations.AddField(
            model_name="startsample",
            name="cache",
            field=models.CharField(blank=True, db_default="", max_length=4),
        ),
    ]
