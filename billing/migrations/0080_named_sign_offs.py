"""A signature names what it covers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0079_no_index_of_unrated_hours")]

    operations = [
        migrations.AddField(
            model_name="periodsignoff",
            name="covers",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
