import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0041_resolutions_are_append_only")]

    operations = [
        migrations.AddField(
            model_name="release",
            name="image_resolution",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="releases_of_image",
                to="fleet.resolution",
            ),
        ),
        migrations.AddField(
            model_name="release",
            name="model_resolution",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="releases_of_model",
                to="fleet.resolution",
            ),
        ),
    ]
