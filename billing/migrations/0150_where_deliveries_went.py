"""Each try of a delivery says where it went."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0134_hours_of_providers")]

    operations = [
        migrations.AddField(
            model_name="exportattempt",
            name="url",
            field=models.CharField(blank=True, db_default="", default="", max_length=2000),
        ),
    ]
