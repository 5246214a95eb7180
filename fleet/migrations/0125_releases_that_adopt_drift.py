import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0120_where_starts_happened")]

    operations = [
        migrations.AddField(
            model_name="drift",
            name="adopted_as",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adopted",
                to="fleet.release",
            ),
        ),
    ]
