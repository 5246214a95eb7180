"""A signature names what it covers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0077_gpu_reservations")]

    operations = [
        migrations.AddField(
            model_name="periodsignoff",
            name="covers",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
