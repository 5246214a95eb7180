"""What a model consists of beside its weights, as it was found when somebody asked."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0067_sequence_events_are_append_only")]

    operations = [
        migrations.AddField("resolution", "parts", models.JSONField(default=list, db_default=[])),
    ]
