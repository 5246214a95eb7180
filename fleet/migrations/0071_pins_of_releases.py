"""Files, secrets, adapters and the data policy of a release; none of those that are there."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0070_parts_of_models")]

    operations = [
        migrations.AddField("release", "pins", models.JSONField(default=dict, db_default={})),
    ]
