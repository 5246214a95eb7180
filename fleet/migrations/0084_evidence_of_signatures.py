"""What a signature was judged by, kept with the record of the judgement."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0080_group_sets_of_clusters")]

    operations = [
        migrations.AddField("resolution", "evidence", models.JSONField(default=dict, db_default={}))
    ]
