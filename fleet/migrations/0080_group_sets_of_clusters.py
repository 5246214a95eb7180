from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0078_adapter_uses_row_level_security")]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="group_sets",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
    ]
