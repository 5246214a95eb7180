from django.db import migrations, models


class Migration(migrations.Migration):
    """A replica of a release may be a group of pods: prefill and decode."""

    dependencies = [("fleet", "0059_samples_by_time")]
    operations = [
        migrations.AddField(
            model_name="release", name="roles", field=models.JSONField(default=list, db_default=[])
        ),
    ]
